"""A scalar function at every point of a space."""
