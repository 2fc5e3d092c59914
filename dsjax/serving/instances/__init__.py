"""Instances that serve: their steps composed from the operators of the core model, tables of them, what they answer."""
