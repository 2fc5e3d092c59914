"""dsjax: the whole design space of serving a DeepSeek-V3-class model in one tensor pass.

ds = dsjax.sweep("default")                 # xarray.Dataset over every named axis
dsjax.best(ds, by=["hardware", "nic"])      # the best feasible point of every group
dsjax.reproduce("decode_gpu_2025")          # published against computed, row by row
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# name -> module; imported on first use, so that `dsjax --help` does not wait for JAX
_PUBLIC = {
    "InputError": "errors",
    "best": "search.best",
    "calibrate": "calibration.calibrate",
    "compare": "analysis.compare",
    "compiled": "evaluation",
    "corrected": "reproduction.corrections",
    "count": "analysis.count",
    "engine_numbers": "validation.engine_numbers",
    "explain": "analysis.explain",
    "fleets": "analysis.fleet.fleets",
    "forget": "evaluation",
    "histogram": "search.histogram",
    "ingest": "validation.ingest",
    "launch": "launching.launch",
    "load_grid": "space.grid",
    "open_netcdf": "results.netcdf",
    "pareto": "search.best",
    "plan": "analysis.plan.plan",
    "plot": "pictures",
    "recommend": "analysis.fleet.recommend",
    "report": "reporting.report",
    "reproduce": "reproduction.reproduce",
    "rows": "catalog.frame",
    "sensitivity": "analysis.sensitivity",
    "solve": "analysis.solve",
    "sweep": "sweeps.sweep",
    "uncertainty": "analysis.uncertainty",
    "units_registry": "results.registry",
    "validate": "validation.validate",
    "validate_defaults": "validation.defaults",
    "write_csv": "results.csv_files",
    "write_netcdf": "results.netcdf",
}
__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:  # the names of `_PUBLIC` as type checkers and editors see them
    from .analysis.compare import compare as compare
    from .analysis.count import count as count
    from .analysis.explain import explain as explain
    from .analysis.fleet.fleets import fleets as fleets
    from .analysis.fleet.recommend import recommend as recommend
    from .analysis.plan.plan import plan as plan
    from .analysis.sensitivity import sensitivity as sensitivity
    from .analysis.solve import solve as solve
    from .analysis.uncertainty import uncertainty as uncertainty
    from .calibration.calibrate import calibrate as calibrate
    from .catalog.frame import rows as rows
    from .errors import InputError as InputError
    from .evaluation import compiled as compiled
    from .evaluation import forget as forget
    from .launching.launch import launch as launch
    from .pictures import plot as plot
    from .reporting.report import report as report
    from .reproduction.corrections import corrected as corrected
    from .reproduction.reproduce import reproduce as reproduce
    from .results.csv_files import write_csv as write_csv
    from .results.netcdf import open_netcdf as open_netcdf
    from .results.netcdf import write_netcdf as write_netcdf
    from .results.registry import units_registry as units_registry
    from .search.best import best as best
    from .search.best import pareto as pareto
    from .search.histogram import histogram as histogram
    from .space.grid import load as _load
    from .sweeps.sweep import sweep as sweep
    from .validation.defaults import validate_defaults as validate_defaults
    from .validation.engine_numbers import engine_numbers as engine_numbers
    from .validation.ingest import ingest as ingest
    from .validation.validate import validate as validate

    load_grid = _load
else:

    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module 'dsjax' has no attribute {name!r}")
        module = importlib.import_module(f".{_PUBLIC[name]}", __name__)
        value = getattr(module, "load" if name == "load_grid" else name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__


def _register() -> None:
    """`Dataset.dsjax`, of every Dataset of xarray's."""
    dataset = sys.modules["xarray"]
    if not hasattr(dataset.Dataset, "dsjax"):
        dataset.register_dataset_accessor("dsjax")(importlib.import_module(".accessor", __name__).Accessor)


class _OnceXarrayIsImported:
    """Registers `Dataset.dsjax` when xarray is imported, which `import dsjax` and `dsjax --help` do not wait for.

    A finder of modules that finds nothing by itself: it lets the others find xarray, and adds to what they load.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "xarray":
            return None
        sys.meta_path.remove(self)
        spec = next((found for x in [*sys.meta_path] if (found := x.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: Any) -> None:
                load(module)
                _register()

            spec.loader.exec_module = loaded
        return spec


if "xarray" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _OnceXarrayIsImported())
