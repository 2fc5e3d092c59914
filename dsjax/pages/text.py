"""Texts of users as a page shows them: what is no letter is written out."""

import unicodedata

# Controls, formats (which turn the direction of a line), surrogates, private and unassigned ones, ends of lines.
NO_LETTERS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def plain(text):
    """A text with its control characters written out: \\x1b, \\u202e, \\n."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in NO_LETTERS else c for c in text)
