"""Numbers of engines that fit measured systems best, and what they are worth for studies that did not fit them."""

import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..arguments import typed
from ..types import Named, Path
from . import engines, systems
from .predict import predictions

CHOICES = (  # numbers that are fitted together
    ("software_factor",),
    ("step_s",),
    ("software_factor", "step_s"),
    ("software_factor", "step_s", "draft_step_s", "request_s"),
)


@typed
def engine_numbers(
    source: Path | None = None,
    *,
    fixed: Named | None = None,
    settings: Named | None = None,
    catalogs: Sequence[Path] = (),
) -> xr.Dataset:
    """Numbers of each engine fitted to measured systems (`engines.fit`), as a Dataset over `fit`.

    Options of `validate`. One line for each of `CHOICES` and each engine, and for all together ("generic"): the
    numbers (those not in `fitted_names` keep the value without a fit), the `systems` they are fitted to,
    `error`, the median |predicted / measured time - 1| of these, and `left_out_error`, the same with the numbers that
    the other studies give.
    """
    rows = systems.read(source).systems
    found = predictions(rows, fixed, settings, catalogs)
    measured_s = engines.Table(rows, found).measured_s
    lines = []
    for names, together in itertools.product(CHOICES, (True, False)):
        fit = engines.fit(rows, found, names, together)
        for engine, one in fit.engines.items():
            if together != (engine == engines.ALL):
                continue
            which = engines.fitted_to(rows, names) & (np.array(fit.of) == engine)
            errors = [np.abs(x / measured_s - 1.0)[which] for x in (fit.predicted_s, fit.left_out_s)]
            line = {"names": " ".join(names), "engine": engine, "fitted_names": " ".join(one.fitted)}
            line |= one.numbers | {"systems": one.rows}
            lines.append(line | dict(zip(("error", "left_out_error"), [_median(x) for x in errors], strict=True)))
    ds = xr.Dataset(coords={"fit": ("fit", np.arange(len(lines)))})
    for name, doc in _TEXTS.items():
        ds = ds.assign_coords({name: ("fit", [x[name] for x in lines], {"long_name": doc})})
    for name, (units, doc) in _DOCS.items():
        ds[name] = ("fit", [x[name] for x in lines], {"units": units, "long_name": doc})
    ds.attrs = {"title": "Numbers of engines fitted to measured systems", "rows_per_number": engines.ROWS}
    return ds


def _median(errors):
    return float(np.median(errors)) if errors.size else np.nan


_TEXTS = {"names": "numbers asked for", "engine": "engine", "fitted_names": "numbers fitted"}
_DOCS = {name: ("s" if name.endswith("_s") else "1", doc) for name, (_, _, doc) in engines.NUMBERS.items()}
_DOCS |= {
    "systems": ("1", "complete systems that the numbers are fitted to"),
    "error": ("1", "median |predicted / measured time - 1| of these systems"),
    "left_out_error": ("1", "the same with the numbers of the other studies"),
}
