"""What a Dataset is the answer to, by what is in it."""

from ..errors import InputError

# kind -> whether a Dataset is of it; the first that fits.
KINDS = {
    "compare": lambda ds: "dsjax_spec_a" in ds.attrs,
    "pareto": lambda ds: "pareto_x" in ds.attrs,
    "plan": lambda ds: "asked" in ds.attrs and "layouts" in ds.attrs,
    "fleets": lambda ds: "asked" in ds.attrs and "configurations" in ds.attrs,
    "sensitivity": lambda ds: "parameter" in ds.dims and "elasticity" in ds,
    "solve": lambda ds: "vary" in ds.attrs and "crossing" in ds.dims,
    "uncertainty": lambda ds: "p_best" in ds or "samples" in ds.attrs,
    "histogram": lambda ds: "bin" in ds.dims and "count" in ds,
    "explain server": lambda ds: "stage" in ds.dims and "constraint" in ds.dims,
    "explain": lambda ds: "collective" in ds.dims and "constraint" in ds.dims,
    "count": lambda ds: "operator" in ds.dims,
    "best": lambda ds: "rank" in ds.dims and "dsjax_spec" in ds.attrs,
    "sweep": lambda ds: "feasible" in ds and "dsjax_spec" in ds.attrs,
}


def kind_of(ds):
    """Name of what a Dataset is the answer to; an InputError of one that dsjax did not make."""
    kind = next((name for name, is_of in KINDS.items() if is_of(ds)), None)
    if kind is None:
        raise InputError(f"dataset: is no answer of dsjax's; expected one of {', '.join(KINDS)}")
    return kind
