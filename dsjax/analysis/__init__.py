"""Questions asked of a space."""
