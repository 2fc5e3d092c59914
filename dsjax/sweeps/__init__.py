"""A whole grid: in one piece, slab by slab, or on workers."""
