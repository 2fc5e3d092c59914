"""Commands that show results to others."""
