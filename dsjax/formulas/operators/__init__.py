"""Shapes of operators in one layer on one chip, and the layers that have them (dsjax/MODEL.md, 2, 3 and 3.1)."""
