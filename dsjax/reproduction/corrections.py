"""A published study with its slips corrected, one at a time and cumulatively, beside the core model."""

import dataclasses
import itertools
import re
from typing import NamedTuple

import numpy as np
import xarray as xr

from .. import __version__, evaluation
from ..arguments import typed
from ..catalog import reader
from ..errors import unknown
from ..space import grid
from ..specs import records
from ..specs.fields import fields_of
from ..specs.variables import VARIABLES
from ..studies import decode_gpu_2025

RATES = ("tps_per_user", "tps_per_chip")
CURVES = ("deepgemm-table", "kernel-assumed")  # of the core model: the study's, and its own


class Correction(NamedTuple):
    """One slip of the study and what takes its place."""

    name: str
    says: str
    slips: dict  # fields of `decode_gpu_2025.Slips`
    decimal: bool = False  # hardware and NICs in decimal units


CORRECTIONS = (
    Correction(
        "q_projection",
        "Q is compressed from the hidden size to its rank and back up from there",
        {"q_from_ranks": False},
    ),
    Correction(
        "expert_rows",
        "the copies of a token are balanced over all cards and their experts; what no token hits is not read",
        {"experts_compute_all": False},
    ),
    Correction("draft_tokens", "the naive pipeline's experts see the draft tokens", {"naive_forgets_drafts": False}),
    Correction(
        "whole_model",
        "dense first layers, router, norms, embedding, head, and the MTP module for every draft token",
        {"only_sparse_layers": False},
    ),
    # The study's shares of peak are constant below 64 rows, so without padding its time falls with the rows further
    # than
    # a kernel's would, whose tiles have 64.
    Correction(
        "padding",
        "GEMMs at their own rows, not at least 64; attention at its context, not 128 tokens more",
        {"least_rows": 0.0, "extra_tokens": 0.0},
    ),
    Correction(
        "locality",
        "copies for the same card are not sent, those for the same server go over its own links",
        {"nothing_stays": False},
    ),
    Correction("units", "rates in decimal units; capacities as sold (no step time depends on them)", {}, decimal=True),
)
# What lies between the corrected study and the core model.
BEYOND = (
    # The study's curve has no share for attention, so core computes it at the peak; its other differences lie here
    # too.
    (
        "other",
        "core model with the study's curve: attention at the peak, catalog rates, utilisation, imbalance, SwiGLU",
    ),
    ("curve", "core model with its own curve: shares of peak and of bandwidth, start of every kernel"),
)
NAMES = (*(c.name for c in CORRECTIONS), *(name for name, _ in BEYOND))
# Where the rates are shown: after the last correction, and both core models.
STAGES = {CORRECTIONS[-1].name: "corrected", "other": "core with the study's curve", "curve": "core"}
META = {
    "alone": ("1", "relative change of the step time when this slip only is corrected"),
    "in_order": ("1", "relative change of the step time when it is corrected after all before it"),
    "ratio": (
        "1",
        "tokens per second, of a user or a chip, over those published, after all corrections up to this one",
    ),
    "median_alone": ("1", "median of alone over the rows"),
    "median_in_order": ("1", "median of in_order over the rows"),
    "ok_memory": (None, "the configuration fits by the core model"),
    "borrowed_rate": (None, "the chip has no fp8: the core model computes it at the int8 rate, as the study does"),
    "correction": (None, "slip that is corrected, in this order; then what leads on to the core model"),
    "says": (None, "what takes the place of the slip"),
    "table": (None, "published table, by its least tokens per second and user"),
}


@typed
def corrected(study: str = "decode_gpu_2025") -> xr.Dataset:
    """Published rows of a study as published and corrected, as a Dataset over `row` and `correction`.

    `alone`: relative change of the step time when this slip only is corrected. `in_order`: when it is corrected after
    all before it; (1 + in_order) multiply to the whole change, while single changes do not add up, and another order
    gives other shares. The last two entries of `correction` go on to the core model at the same configuration, first
    with the study's curve, then with its own (`alone` is NaN there). `step_time`, `tps_per_user`, `tps_per_chip` and
    `ratio` (of rates, to those published) are after all corrections up to this one. `median_*`: over the rows.
    """
    if study != decode_gpu_2025.STUDY.name:
        raise unknown("corrected", "study with corrections", study, [decode_gpu_2025.STUDY.name])
    published = decode_gpu_2025.STUDY.data["published"]
    rows = [dict(zip(published["columns"], row)) for row in published["rows"]]
    base = grid.load(grid.folder() / f"{published['grid']}.toml")

    def at(chosen):
        return _points(_space(base, chosen), rows)

    before = at(())
    alone = [at((c,))["step_time"] for c in CORRECTIONS]
    steps = [at(CORRECTIONS[: i + 1]) for i in range(len(CORRECTIONS))]
    cores, borrowed = _cores(base, rows)
    steps += cores
    nowhere = np.full(len(rows), np.nan)
    times = [before["step_time"], *(x["step_time"] for x in steps)]
    data = {
        "alone": [t / times[0] - 1.0 for t in alone] + [nowhere] * len(BEYOND),
        "in_order": [after / earlier - 1.0 for earlier, after in itertools.pairwise(times)],
        "ratio": [times[0] / t for t in times[1:]],
        **{name: [x[name] for x in steps] for name in ("step_time", *RATES)},
    }
    data = {name: (("row", "correction"), np.stack(columns, axis=1)) for name, columns in data.items()}
    data |= {f"{name}_published": ("row", before[name]) for name in ("step_time", *RATES)}
    data |= {f"median_{name}": ("correction", np.median(data[name][1], axis=0)) for name in ("alone", "in_order")}
    data |= {"ok_memory": ("row", cores[0]["ok_memory"]), "borrowed_rate": ("row", borrowed)}
    labels = {name: ("row", np.array([row[name] for row in rows])) for name in ("table", *base.axes)}
    says = [*(c.says for c in CORRECTIONS), *(text for _, text in BEYOND)]
    coords = labels | {"correction": list(NAMES), "says": ("correction", says)}
    ds = xr.Dataset(data, coords, {"title": f"{base.title}: as published and corrected", "study": study})
    ds.attrs |= {"Conventions": "CF-1.11", "dsjax_version": __version__}
    for name, variable in ds.variables.items():
        variable.attrs |= _meta(name)
    return ds


def _meta(name):
    """Units and long name of a variable of `corrected`."""
    variable, axis = name.removesuffix("_published"), fields_of(records.Deployment).get(name)
    if name in META:
        units, text = META[name]
    elif variable in VARIABLES:
        units, text = VARIABLES[variable]
        text += f", {'as published' if variable != name else 'after all corrections up to this one'}"
    else:
        units, text = (axis["units"], axis["doc"]) if axis else (None, name)
    return {"long_name": text} | ({"units": units} if units else {})


def _space(base, corrections):
    """The study's space with these corrections made."""
    if not corrections:
        return base
    slips = decode_gpu_2025.PUBLISHED
    for correction in corrections:
        slips = slips._replace(**correction.slips)
    study = decode_gpu_2025.variant(slips)
    decimal = any(correction.decimal for correction in corrections)
    tables = _decimal(base.study.tables) if decimal else base.study.tables
    own = reader.load(base.study.records, (tables, base.study.path.name), *reader.users())
    shared = reader.load(records.RECORDS, *reader.users())["hardware"]
    fields = fields_of(study.records["hardware"]).keys() - fields_of(base.study.records["hardware"]).keys()
    hardware = {name: own["hardware"][name] | {f: shared[name][f] for f in fields} for name in base.rows["hardware"]}
    if decimal:  # capacities as the study has them, as sold
        sold = {name: shared[name]["hbm_advertised_bytes"] or shared[name]["hbm_bytes"] for name in hardware}
        hardware = {name: row | {"hbm_bytes": sold[name]} for name, row in hardware.items()}
    nic = {name: own["nic"][name] for name in base.rows["nic"]}
    return dataclasses.replace(base, study=study, rows=base.rows | {"hardware": hardware, "nic": nic})


def _decimal(tables):
    """Rows of a catalog as written, with decimal prefixes where a rate has a binary one."""
    if isinstance(tables, dict):
        return {key: value if key in ("source", "sources") else _decimal(value) for key, value in tables.items()}
    return re.sub(r"([GT])i(B/s|FLOP/s|Hz)$", r"\1\2", tables) if isinstance(tables, str) else tables


def _cores(base, rows):
    """([{variable: values at the rows} of the core model for each curve], which rows borrow the int8 rate for fp8)."""
    shared = reader.load(records.RECORDS, *reader.users())["hardware"]
    lacking = {name for name in base.axes["hardware"] if not shared[name]["fp8_flops_per_s"]}
    fixed = {name: base.fixed[name] for name in ("context", "acceptance")} | {"tp": 1}
    space = grid.load(
        {"axes": {**base.axes, "curve": list(CURVES)}, "fixed": fixed},
        settings={f"hardware.{name}.fp8_flops_per_s": shared[name]["int8_flops_per_s"] for name in lacking},
    )
    found = [_points(space, [row | {"curve": curve} for row in rows], "ok_memory") for curve in CURVES]
    return found, np.array([row["hardware"] in lacking for row in rows])


def _points(space, rows, *more):
    """{variable: values at the rows} of one evaluation of a space."""
    index = {axis: np.array([labels.index(row[axis]) for row in rows]) for axis, labels in space.axes.items()}
    found = evaluation.evaluate(space, names=("step_time", *RATES, *more))
    return {name: array[tuple(index[axis] for axis in dims)] for name, (dims, array) in found.items()}
