"""The pictures as charts of a page, with the values of every mark on hover: one file a kind, as `pictures` has them."""
