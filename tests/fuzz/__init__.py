"""Random damage to everything that a user can give: an answer or one line, whatever it is (`python -m tests.fuzz`)."""
