"""Measured systems against predictions."""
