"""Arrays -> labelled Dataset -> file."""
