"""Grid file -> a named design space."""
