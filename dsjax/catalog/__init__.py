"""Files of rows -> records."""
