"""dsjax: the whole design space of serving a DeepSeek-V3-class model in one tensor pass.

ds = dsjax.sweep("default")                 # xarray.Dataset over every named axis
dsjax.best(ds, by=["hardware", "nic"])      # the best feasible point of every group
dsjax.reproduce("decode_gpu_2025")          # published against computed, row by row
"""

import importlib

__version__ = "0.1.0"

# name -> module; imported on first use, so that `dsjax --help` does not wait for JAX
_PUBLIC = {
    "InputError": "errors",
    "best": "search.best",
    "calibrate": "calibration.calibrate",
    "compare": "analysis.compare",
    "corrected": "reproduction.corrections",
    "count": "analysis.count",
    "explain": "analysis.explain",
    "forget": "evaluation",
    "histogram": "search.histogram",
    "interpreting": "evaluation",
    "load_grid": "space.grid",
    "open_netcdf": "results.netcdf",
    "pareto": "search.best",
    "plot": "pictures",
    "recommend": "analysis.recommend",
    "reproduce": "reproduction.reproduce",
    "sensitivity": "analysis.sensitivity",
    "solve": "analysis.solve",
    "sweep": "sweeps.sweep",
    "uncertainty": "analysis.uncertainty",
    "validate": "validation.validate",
    "validate_defaults": "validation.defaults",
    "write_csv": "results.csv_files",
    "write_netcdf": "results.netcdf",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dsjax' has no attribute {name!r}")
    module = importlib.import_module(f".{_PUBLIC[name]}", __name__)
    value = getattr(module, "load" if name == "load_grid" else name)
    globals()[name] = value
    return value


def __dir__():
    return __all__
