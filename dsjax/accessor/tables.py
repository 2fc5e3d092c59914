"""An answer as a pandas DataFrame, with the headings and the units of the command line."""

import numpy as np
import pandas as pd

from ..formats import heading, scaled
from ..results.files import records
from ..results.handle import Results
from ..search import ranking
from ..space import restoring
from ..specs.variables import LIMITS
from .kinds import kind_of

METRICS = ("tps_per_user", "tps_per_chip", "tpot", "ttft", "memory_per_chip", "mfu", "cost_per_million_tokens")
# Of a plan and of fleets, beside their times and their layout.
OF_PLAN = "hardware kind precision instances chips_per_instance tp dp ep moe_tp pp mtp pipeline concurrency".split()
OF_FLEETS = "hardware nic kind chips concurrency".split()
OF_DEMAND = "ttft tpot requests_per_s tps_per_user tps_per_chip cost_per_hour cost_per_million_tokens".split()
# kind -> dim whose rows are the table
DIMS = {"compare": "group", "solve": "crossing", "histogram": "bin", "count": "operator"}


def table(ds):
    """The DataFrame of any answer, see `Accessor.table`."""
    kind = kind_of(ds)
    if kind == "sweep":
        return _of_points(ranking.best(Results.of(ds)))
    if kind in ("best", "pareto"):
        return _of_points(ds)
    return _OF[kind](ds) if kind in _OF else _over(ds, DIMS[kind])


def _of_points(ds):
    """Ranked points: values of the axes, the metrics, what binds."""
    space, n = restoring.space(ds.attrs["dsjax_spec"]), ds.sizes["rank"]
    values = {name: np.broadcast_to(ds[name].values, n) for name in (*space.axes, "bottleneck")}
    columns = {name: values[name] for name in space.axes}
    extra = [name for name in (ds.attrs.get("pareto_x"), ds.attrs.get("pareto_y"), space.objective) if name]
    for name in dict.fromkeys((*(x for x in METRICS if x in space.defined), *extra)):
        if name in ds:
            columns[heading(name)] = scaled(name, np.broadcast_to(ds[name].values, n))
    columns["bound by"] = [LIMITS[int(i)] for i in values["bottleneck"]]
    return pd.DataFrame(columns, index=pd.Index(ds["rank"].values, name="rank"))


def _of_demand(ds, names):
    """Rows of a plan or of fleets."""
    statistic = ds.attrs["statistic"]
    names = [*names, *(f"{time}_{statistic}" for time in ("ttft", "tpot")), *OF_DEMAND]
    names = [name for name in names if name in ds.variables and ds[name].dims == ("rank",)]
    return pd.DataFrame(
        {heading(name): _numbers(ds, name) for name in names}, index=pd.Index(ds["rank"].values, name="rank")
    )


def _of_sensitivity(ds):
    """Parameters, the largest elasticity first; over a grid its spread over the feasible points."""
    if "parameter_value" in ds:
        from ..commands.answers.sensitivity import rows_at_point

        columns = ["parameter", "value", "units", "elasticity", "better", "buys_percent", "kink"]
        frame = pd.DataFrame(rows_at_point(ds))[columns]
        return frame.rename(columns={"value": "now", "buys_percent": "1 % better buys %"}).set_index("parameter")
    dims = [dim for dim in ds["elasticity"].dims if dim != "parameter"]
    known = ds["elasticity"].where(ds["feasible"])
    spread = known.quantile([0.0, 0.5, 1.0], dims).values if dims else np.repeat(known.values[None], 3, 0)
    index = pd.Index(ds["parameter"].values, name="parameter")
    frame = pd.DataFrame(dict(zip(("least", "median", "most"), spread, strict=True)), index=index)
    return frame.sort_values("median", key=abs, ascending=False)


def _of_explained(ds):
    """Blocks of a step: what they take, what binds them, how near they are to the speed of light."""
    from ..commands.answers.explain_tables import blocks

    frame = pd.DataFrame(blocks(ds))
    frame = frame.assign(**{"ms": 1e3 * frame["seconds"], "share %": 100 * frame["share"]})
    frame["of light %"] = 100 * frame["of_light"]
    return frame.set_index("block")[["layers", "ms", "share %", "bound_by", "of light %", "flops", "bytes"]]


def _of_uncertainty(ds):
    """Configurations: their objective in quantiles, the chances to be feasible and the best."""
    of, n = ds.attrs["of"], ds.sizes["rank"]
    columns = {name: ds[name].values for name in ds.attrs["axes"] if name in ds.coords and ds[name].dims == ("rank",)}
    if n:
        for q, own in zip(ds["quantile"].values, ds[of].transpose("quantile", "rank").values, strict=True):
            columns[f"{heading(of)} {100 * q:g} %"] = scaled(of, own)
        columns |= {"feasible %": 100 * ds["p_feasible"].values, "best %": 100 * ds["p_best"].values}
    return pd.DataFrame(columns, index=pd.Index(ds["rank"].values, name="rank"))


def _over(ds, dim):
    """All variables over one dim."""
    found = {name: x.values for name, x in {**ds.coords, **ds.data_vars}.items() if x.dims == (dim,) and name != dim}
    frame = pd.DataFrame(records(found)) if found else pd.DataFrame(index=range(ds.sizes[dim]))
    frame.index = pd.Index(ds[dim].values if dim in ds.coords else range(1, ds.sizes[dim] + 1), name=dim)
    return frame


def _numbers(ds, name):
    values = ds[name].values
    return scaled(name, values) if values.dtype.kind in "fiu" else values


_OF = {
    "plan": lambda ds: _of_demand(ds, OF_PLAN),
    "fleets": lambda ds: _of_demand(ds, OF_FLEETS),
    "sensitivity": _of_sensitivity,
    "explain": _of_explained,
    "explain server": lambda ds: _over(ds, "stage"),
    "uncertainty": _of_uncertainty,
}
