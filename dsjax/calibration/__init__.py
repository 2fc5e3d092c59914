"""Kernel measurements -> curves."""
