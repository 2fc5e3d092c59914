"""Records that formulas read, their kinds of field, and the names of variables of results."""
