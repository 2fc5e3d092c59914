"""Published results against computed ones."""
