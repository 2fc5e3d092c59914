"""Kernels of layers that are neither attention to all positions nor products with weights: knots, counts, shares."""
