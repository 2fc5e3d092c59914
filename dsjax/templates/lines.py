"""Lines of a template in TOML: the directive for editors, keys with their meaning."""

import json

from ..schemas import file_of

WIDTH = 40  # columns before a comment


def head(kind, *said):
    """First lines of a file: the directive of its schema, what the file is, and how editors come to check it."""
    file = file_of(kind)
    return [
        f"#:schema ./{file}",
        *(f"# {text}" for text in said),
        f"# dsjax schema {kind} -o {file}: editors check it.",
    ]


def line(key, value, meaning="", off=False):
    """`key = value  # meaning`, commented out where it is `off`."""
    text = f"{'# ' if off else ''}{key} = {toml(value)}"
    return f"{text:{WIDTH}} # {meaning}" if meaning else text


def toml(value):
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(x)}' for key, x in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, ensure_ascii=False)


def joined(*lines):
    """The text of a file."""
    return "\n".join(lines) + "\n"
