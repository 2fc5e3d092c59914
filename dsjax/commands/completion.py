"""What a shell completes: names and values of options, from the tables that read them."""

from click.shell_completion import CompletionItem


def grids(context, parameter, incomplete):
    """Grids of dsjax's own, else files."""
    del context, parameter
    from ..space import grid

    found = _begin(sorted(path.stem for path in grid.folder().glob("*.toml")), incomplete)
    return [*found, CompletionItem(incomplete, type="file")]


def rows(kind):
    """Names of the rows of a catalog."""

    def complete(context, parameter, incomplete):
        del context, parameter
        from ..catalog import reader

        return _begin(reader.load()[kind], incomplete)

    return complete


def several(kind, *more):
    """Names of the rows of a catalog, or of `more`, the last one of several separated by commas."""

    def complete(context, parameter, incomplete):
        del context, parameter
        from ..catalog import reader

        before, comma, last = incomplete.rpartition(",")
        given = {name.lower() for name in before.split(",")}
        rows = [name for name in reader.load()[kind] if name.lower() not in given]
        return _begin([*rows, *(() if comma else more)], last, f"{before}{comma}")

    return complete


def models(context, parameter, incomplete):
    """Names of models, else files: a config.json."""
    return [*rows("model")(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


def names(kind, end=""):
    """Names that `dsjax names` lists: the last one of several separated by commas, followed by `end`."""

    def complete(context, parameter, incomplete):
        del context, parameter
        from ..space import listing

        before, comma, last = incomplete.rpartition(",")
        found = [f"{row['name']}{end}" for row in listing.names(kind) if not (row.get("of_row") and not last)]
        return _begin(found, last, f"{before}{comma}")

    return complete


def of_axes(context, parameter, incomplete):
    """NAME=, or the labels of NAME=: rows of its catalog, or its choices, the last one of several."""
    name, equals, values = incomplete.partition("=")
    if not equals:
        return names("axes", "=")(context, parameter, incomplete)
    from .. import studies
    from ..catalog import reader

    before, comma, last = values.rpartition(",")
    for study in (studies.get(study) for study in ("core", *studies.SERVERS)):
        if name in study.kinds:
            return _begin(reader.load()[study.kinds[name]], last, f"{name}={before}{comma}")
        if name in study.policies:
            return _begin(study.policies[name].choices, last, f"{name}={before}{comma}")
    return []


def kinds(context, parameter, incomplete):
    """Kinds of picture."""
    del context, parameter
    from ..pictures import KINDS

    return _begin(KINDS, incomplete)


def listed(*known):
    """These words."""

    def complete(context, parameter, incomplete):
        del context, parameter
        return _begin(known, incomplete)

    return complete


def _begin(known, incomplete, before=""):
    return [CompletionItem(before + name) for name in known if str(name).lower().startswith(incomplete.lower())]
