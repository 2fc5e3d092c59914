"""What the site takes from elsewhere in the repository when it is built, so that each fact stays in one place.

Of a page, `<!-- included: FILE -->` becomes a file of the repository, its links those of the site, and `<!-- generated:
NAME -->` a table made from the code: `TABLES`.
"""

import inspect
import re
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"^<!-- (included|generated): ([\w./-]+) -->$", re.MULTILINE)
LINKS = (("](docs/", "]("), ("](CONTRIBUTING.md", "](extending.md"), ("](dsjax/MODEL.md", "](model.md"))


def on_page_markdown(markdown, **_):
    """The text of a page with what its marks stand for (mkdocs calls this)."""
    return MARK.sub(lambda mark: _included(mark[2]) if mark[1] == "included" else TABLES[mark[2]](), markdown)


def _included(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for ours, of_site in LINKS:
        text = text.replace(ours, of_site)
    return text


def _table(heads, rows):
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *cells])


def commands():
    """Every command: what it is, its examples, its options."""
    from dsjax.cli import COMMANDS, main

    context, parts = click.Context(main, info_name="dsjax"), []
    for title, lines in COMMANDS.values():
        parts.append(f"## {title}")
        for name in lines:
            command = main.get_command(context, name)
            own = click.Context(command, info_name=f"dsjax {name}", parent=None)
            usage = " ".join(command.collect_usage_pieces(own))
            parts += [f"### dsjax {name}", f"`dsjax {name} {usage}`", _prose(command.help)]
            options = filter(None, (parameter.get_help_record(own) for parameter in command.get_params(own)))
            rows = [(f"`{option}`", _escaped(meaning)) for option, meaning in options if meaning]
            parts.append(_table(["option", "meaning"], rows))
    return "\n\n".join(parts)


def _prose(text):
    """Help of click: paragraphs after a backspace keep their lines, and are examples where they look like it."""
    parts = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = part.removeprefix("\b\n").split("\n")
        if any(re.match(r"\s*dsjax |.*\S {2,}\S", line) for line in lines):
            parts.append("```text\n" + "\n".join(lines) + "\n```")
        else:
            parts.append(_escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(parts)


def _escaped(text):
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)


def _names(kind, heads):
    from dsjax.space import listing

    rows = [row for row in listing.names(kind) if not row.get("of_row")]
    return _table(
        ["name", *heads], [[f"`{row['name']}`", *(_escaped(str(row.get(head, ""))) for head in heads)] for row in rows]
    )


def _rows(catalog, columns):
    """Rows of a catalog: names, some columns in their units, sources."""
    from dsjax.catalog import frame

    rows = frame.rows(catalog)
    cells = [
        [f"`{name}`", *(f"{row[c]:,.4g}" for c in columns), _escaped(row["source"])] for name, row in rows.iterrows()
    ]
    return _table([catalog, *(f"{columns[c]} [{rows.attrs['units'][c]}]" for c in columns), "what it is"], cells)


TABLES = {
    "commands": commands,
    "axes": lambda: _names("axes", ["unit", "meaning", "values", "phases"]),
    "variables": lambda: _names("variables", ["unit", "meaning", "phases"]),
    "precisions": lambda: _rows(
        "precisions", {"weight_bytes": "weights", "expert_bytes": "experts", "kv_bytes": "cache"}
    ),
    "nics": lambda: _rows("nics", {"scale_out_bytes_per_s": "per chip, one way"}),
    "engines": lambda: _rows("engines", {}),
}
