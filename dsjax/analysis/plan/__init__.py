"""What to run on some chips, asked and answered in a user's words."""
