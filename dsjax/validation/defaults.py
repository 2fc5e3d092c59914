"""Sensitivity of `validate` to each entry of the table of defaults."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..arguments import typed
from ..types import Named, Path
from . import agreement, predict, systems, validate


@typed
def validate_defaults(
    source: Path | None = None,
    *,
    fixed: Named | None = None,
    settings: Named | None = None,
    catalogs: Sequence[Path] = (),
) -> xr.Dataset:
    """Errors of `validate` with one default changed at a time, as a Dataset over `choice`; options of `validate`.

    The first choice is the table of defaults as it is; the others come from [alternatives] of the file: values near a
    default, or near a number of [balance]. A system keeps the default where the model refuses the other value, as two
    micro batches of one sequence. `changed` counts the systems whose prediction changes; `median`, `p90` (of
    |predicted / measured - 1|, the study itself left out of the fit) and `far` (systems above 30 %) are of the complete
    systems, `open_median`, `open_p90`, `open_far` of those whose source leaves something open; `software_factor` is
    fitted anew each time.
    """

    def predicted(rows):  # those of systems that the choice leaves as they were are kept
        return predict.predictions(rows, fixed, settings, catalogs)

    file, (factor, _) = systems.read(source), validate.factors(source)
    first = predicted(file.systems)
    lines = [_errors(file.systems, first, factor) | {"key": "", "value": "", "changed": 0}]
    for key, values in file.alternatives.items():
        for value in values:
            found = predicted(systems.read(source, {key: value}).systems)
            found = [b if set(b.refused) <= set(a.refused) else a for a, b in zip(first, found, strict=True)]
            changed = sum((a.fixed_s, a.scaled_s) != (b.fixed_s, b.scaled_s) for a, b in zip(first, found, strict=True))
            if changed:
                text = f"{value:g}" if isinstance(value, float) else str(value)
                lines.append(_errors(file.systems, found, factor) | {"key": key, "value": text, "changed": changed})
    return _dataset(file, lines)


def _errors(rows, found, factor):
    """Statistics of one choice."""
    fit = validate.fit(rows, found, factor)
    error = fit.left_out / np.array([row.used["value"] for row in rows]) - 1.0
    complete = np.array([row.complete for row in rows])
    line = {"software_factor": fit.factor}
    for prefix, which in (("", complete), ("open_", ~complete)):
        summary = agreement.summary(error[which])
        line |= {f"{prefix}{name}": summary[name] for name in ("median", "p90", "far")}
    return line


def _dataset(file, lines):
    names = [f"{'balance ' * (x['key'] in systems.BALANCES)}{x['key']} = {x['value']}".strip(" =") for x in lines]
    names[0] = "as they are"
    ds = xr.Dataset(coords={"choice": ("choice", names)})
    for name, doc in _DOCS.items():
        ds[name] = ("choice", [x[name] for x in lines], {"units": "1", "long_name": doc})
    texts = {"key": "what is changed", "value": "to what"}
    for name, doc in texts.items():
        ds = ds.assign_coords({name: ("choice", [x[name] for x in lines], {"long_name": doc})})
    default = [str(file.defaults.get(x["key"], "")).removesuffix(".0") for x in lines]
    ds = ds.assign_coords(default=("choice", default, {"long_name": "what it is in the table of defaults"}))
    ds.attrs = {"title": "Agreement with measured systems, one default changed at a time"}
    ds.attrs["systems"] = len(file.systems)
    ds.attrs["complete_systems"] = sum(row.complete for row in file.systems)
    return ds


_DOCS = {
    "changed": "systems that the choice changes",
    "software_factor": "fitted to the complete systems, first tokens aside",
}
for _prefix, _of in (("", "complete"), ("open_", "incomplete")):
    _DOCS |= {
        f"{_prefix}median": f"median |predicted / measured - 1| of the {_of} systems, the study left out of the fit",
        f"{_prefix}p90": f"90th percentile of the same of the {_of} systems",
        f"{_prefix}far": f"{_of} systems more than {agreement.FAR:.0%} off",
    }
