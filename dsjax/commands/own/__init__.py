"""Files of one's own: what they may hold, and templates of them."""
