"""Published tables against what is computed, row by row."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from .. import studies
from ..arguments import typed
from ..results import csv_files
from ..results.handle import Results
from ..search import ranking
from ..space import grid
from ..sweeps import sweep
from . import figures


@typed
def reproduce(study: str = "decode_gpu_2025") -> xr.Dataset:
    """A study's published results beside the computed ones, as a Dataset over `row`.

    What it holds depends on what the study published (attribute `form`): "tables", the ranked results of a search;
    see `searched_tables`; or "figures", single numbers, conclusions and contradictions; see `figures.compare`. `ok`:
    the row holds within its tolerance.
    """
    published = studies.get(study)
    form = published.data["published"]["form"]
    result = FORMS[form].compare(published)
    result.attrs |= {"title": f"{published.title}: published against computed", "study": study, "form": form}
    return result


def studies_of_results():
    """Names of the studies that published results."""
    return [name for name in studies.names() if "published" in studies.get(name).data]


def summary(result):
    """One line on what `reproduce` found."""
    return FORMS[result.attrs["form"]].summary(result)


def passed(result):
    """Whether all that `reproduce` found is as it should be."""
    return FORMS[result.attrs["form"]].passed(result)


def details(result):
    """{name: list of dicts} of what `reproduce` found beside the rows."""
    return FORMS[result.attrs["form"]].details(result)


def searched_tables(study):
    """Ranked tables of a search.

    Every row is evaluated at its own published configuration: `<variable>`, `<variable>_published`,
    `<variable>_error` (relative). The search is repeated over the space the study searched: `best_<objective>` is the
    best of the row's group, `rank` its place and `rank_published` that of the row; `same_choice`: every choice is the
    published one but for axes the study's own sort left to chance; for those, `<axis>_choices` counts the values
    among the equal best points, and `among_ties` tells whether the published point is one of them. `ok`: all of it
    holds within the study's tolerance.
    """
    published = study.data["published"]
    tables = []
    for table, bounds in published["tables"].items():
        rows = [dict(zip(published["columns"], row)) for row in published["rows"] if str(row[0]) == table]
        space = dataclasses.replace(
            grid.load(grid.folder() / f"{published['grid']}.toml"), bounds={k: float(v) for k, v in bounds.items()}
        )
        tables.append(_compare(sweep.of_space(space, blocks=False), space, rows, published))
    result = xr.concat(tables, "row", data_vars="all", coords="all", compat="override", join="outer")
    result.attrs = {"tolerance": published["tolerance"]}
    return result


def tables_summary(result):
    """One line: rows reproduced, and how closely."""
    errors = [abs(result[name]).max().item() for name in result.data_vars if name.endswith("_error")]
    rows, worst = result.sizes["row"], max(errors)
    return f"{int(result['ok'].sum())} of {rows} rows reproduced; largest relative error {worst:.1e}"


def _compare(ds, space, rows, published):
    """Rows of one table against its space, evaluated as `ds`."""
    shape, tolerance = tuple(space.sizes.values()), published["tolerance"]
    flat = np.array([np.ravel_multi_index([space.axes[a].index(row[a]) for a in space.axes], shape) for row in rows])
    at = csv_files.columns(Results(ds, space), flat)
    data = {axis: at[axis] for axis in space.axes} | {"table": np.array([row["table"] for row in rows], dtype=object)}
    close = at["feasible"]
    for name in published["measured"]:
        target = np.array([row[name] for row in rows])
        error = at[name] / target - 1.0
        data |= {f"{name}_published": target, name: at[name], f"{name}_error": error}
        close = close & (np.abs(error) <= tolerance)

    ranked = ranking.best(ds)
    label = {
        key: at[key] if key in at else ds[key].sel({ds[key].dims[0]: at[ds[key].dims[0]]}).values for key in space.by
    }
    groups = list(zip(*(label[key].tolist() for key in space.by)))
    places = {group: i for i, group in enumerate(zip(*(ranked[key].values.tolist() for key in space.by)))}
    rank = np.array([places.get(group, -1) for group in groups])
    chosen = ranked.isel(rank=np.maximum(rank, 0))
    best = chosen[space.objective].values
    equal = [_equal_points(ds, space, group, value) for group, value in zip(groups, best)]
    data |= {
        "rank": rank + 1,
        "rank_published": np.arange(1, len(rows) + 1),
        f"best_{space.objective}": best,
        "same_choice": np.all([chosen[a].values == at[a] for a in space.axes if a not in published["tied"]], axis=0),
        "among_ties": np.array([f in points["flat"] for f, points in zip(flat, equal)]),
        **{f"{a}_choices": np.array([len(set(points[a])) for points in equal]) for a in published["tied"]},
    }
    best_close = np.abs(best / data[f"{space.objective}_published"] - 1.0) <= tolerance
    in_place = (data["rank"] == data["rank_published"]) & (len(places) == len(rows))
    data["ok"] = close & best_close & in_place & data["same_choice"] & data["among_ties"]
    return xr.Dataset({name: ("row", values) for name, values in data.items()}).set_coords([*space.axes, "table"])


def _equal_points(ds, space, group, value):
    """Feasible points of a group whose objective equals `value`: {axis: labels, "flat": indices}."""
    keep = ds["feasible"] & (abs(ds[space.objective] - value) <= ranking.TOLERANCE["float64"] * abs(value))
    for key, wanted in zip(space.by, group):
        keep = keep & (ds[key] == wanted)
    flat = np.flatnonzero(keep.transpose(*space.axes).values)
    where = np.unravel_index(flat, tuple(space.sizes.values()))
    return {axis: [space.axes[axis][i] for i in index] for axis, index in zip(space.axes, where)} | {"flat": flat}


class Form(NamedTuple):
    """How published results of one kind are compared and summed up."""

    compare: Callable  # study -> Dataset
    summary: Callable  # Dataset -> one line
    passed: Callable  # Dataset -> whether all that is gated holds
    details: Callable  # Dataset -> {name: list of dicts} beside the rows


FORMS = {
    "tables": Form(searched_tables, tables_summary, lambda result: bool(result["ok"].all()), lambda result: {}),
    "figures": Form(figures.compare, figures.summary, figures.passed, figures.details),
}
