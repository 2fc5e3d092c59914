"""What changes how far a reader trusts a table: marks in its rows, and one short sentence for each below it."""

from ..catalog import sources
from ..formats import label
from ..options import by_reader
from ..space import plausible, provenance
from ..space.space import numeric_axes
from .output import verbose

ALWAYS = ("model", "phase")  # told, also by default
SLIPS_SHOWN = 3
SOURCES, REMARKS = "dsjax.rows(...) shows sources", "attrs['remarks'] has"  # in Python
COST = "cost_per_million_tokens"
_KERNELS = {"fitted": "", "sibling": "those of a sibling", "assumed": f"{provenance.UNMEASURED} not measured"}


def title(space, more=""):
    """A line: the title of a space and its axes; with --verbose every value that is fixed, defaults too."""
    axes = " x ".join(f"{n} {name}" for name, n in space.sizes.items())
    fixed = f" ({values(space)})" if verbose() and space.fixed else ""
    return f"{space.title}: {axes}{' = ' * bool(axes)}{space.points:,} points{more}{fixed}"


def chosen(space):
    """Lines: what is fixed otherwise than by default, by the grid or by its user, who is told all with --verbose."""
    said = "" if verbose() else values(space)
    return [f"fixed: {said}"] if said else []


def values(space):
    """What is `told` of what is fixed in a space, as a text."""
    fixed = told(space)
    units = {name: meta["units"] for name, meta in numeric_axes(space.study).items()}
    return ", ".join(f"{name} {label(value, units.get(name, '1'))}" for name, value in fixed.items())


def told(space):
    """{name: value} of what is fixed in a space, without defaults unless --verbose."""
    usual = {} if verbose() else space.study.data["defaults"]
    return {name: x for name, x in space.fixed.items() if name in ALWAYS or usual.get(name) != x}


def footer(space, shown):
    """Sentences below a table of variables `shown`: what is not verified, changed, priced or measured."""
    if verbose():
        return [*slips(plausible.remarks(space)), *provenance.remarks(space, shown)]
    lines = [*slips(plausible.remarks(space)), *provenance.doubted(space, shown)]
    lines += of_prices(provenance.prices(space)) if COST in shown else []
    found = [*lines, *kernels(space), *provenance.of_checkpoints(space), *provenance.of_models(space)]
    return [*found, by_reader("-v shows defaults and sources", SOURCES)] if found else []


def slips(found):
    """Sentences on numbers that are likely slips, those of a space or of a Dataset; without --verbose the first ones.

    `found`: all of them, or the Dataset that they are an attribute of.
    """
    found = found if isinstance(found, list) else told_by(found)
    if verbose() or len(found) <= SLIPS_SHOWN:
        return found
    return [
        *found[:SLIPS_SHOWN],
        f"and {len(found) - SLIPS_SHOWN} more such remarks ({by_reader('-v tells', REMARKS)} them)",
    ]


def told_by(ds):
    """The sentences of a Dataset on numbers that are likely slips."""
    return ds.attrs.get("remarks", "").splitlines()


def of_systems(errors):
    """How far off measured systems of a kind were, and first tokens: `kept.errors_of` their class."""
    off = [f"{errors[f'{of}_median']:.0%}, 9 of 10 within {errors[f'{of}_p90']:.0%}" for of in ("error", "ttft_error")]
    said = f"{errors['systems']:g} measured systems of this kind ({errors['system_class']}) were off by median {off[0]}"
    return f"{said}; first tokens by median {off[1]}"


def of_prices(known):
    """`provenance.of_prices`, short unless --verbose."""
    if verbose() or not any(known.values()):
        return provenance.of_prices(known)
    lines = [f"prices: {sources.most(known.values())}"]
    if others := provenance.unlike(known):
        lines[0] += f"; * another source: {', '.join(others)}"
    lacking = [chip for chip, text in known.items() if text is None]
    return [*lines, *([f"no price: {', '.join(lacking)}"] if lacking else [])]


def kernels(*spaces, chips=None):
    """A sentence: how sure the times of kernels are, and on which chips, of those named, less so."""
    shown, chips = chips, {}
    for space in spaces:
        for (hardware, _), (_, basis) in provenance.of_space(space).items():
            if shown is None or hardware in shown:
                chips.setdefault(basis, {})[hardware] = None
    parts = []
    for basis, words in _KERNELS.items():
        if basis in chips:
            error = f"{words} +-{100 * provenance.UNCERTAINTY[basis]:.0f} %".strip()
            parts.append(f"{error}{': ' * bool(words)}{', '.join(chips[basis]) * bool(words)}")
    return [f"kernel times: {'; '.join(parts)}"] if parts else []
