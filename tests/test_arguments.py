"""Arguments of the public functions: of a wrong type each is an InputError that names it, of a like type it works."""

import inspect
from pathlib import Path

import numpy as np
import pytest

import dsjax
from dsjax.arguments import plain

GRID = {"study": "decode_gpu_2025", "axes": {"hardware": ["H800"], "batch": [16]}}
GRID["fixed"] = {"nic": "CX7", "ep": 72, "precision": "kv1-w1", "mtp": 0, "context": 5120}
DEMAND = {"isl": 100, "osl": 10, "requests_per_s": 1}
# function: what it needs to be asked at all
NEEDED = {
    "calibrate": {"path": "x.csv", "kind": "gemm", "hardware": "H800"},
    "count": {},
    "corrected": {},
    "compare": {"a": GRID, "b": GRID},
    "engine_numbers": {},
    "fleets": {**DEMAND, "hardware": "H20"},
    "ingest": {"paths": "absent.json"},
    "load_grid": {"grid": GRID},
    "open_netcdf": {"path": "absent.nc"},
    "plan": {"hardware": "H20", "chips": 16, "isl": 100, "osl": 10},
    "plot": {"kind": "pareto", "source": GRID, "path": "x.png"},
    "recommend": DEMAND,
    "reproduce": {},
    "rows": {"catalog": "hardware"},
    "solve": {"source": GRID, "vary": "batch", "until": "tps_per_user=20"},
    "uncertainty": {"source": GRID, "errors": {"nic": 0.01}},
    "validate": {},
    "validate_defaults": {},
    "write_csv": {"ds": None, "path": "x.csv"},
    "write_netcdf": {"ds": None, "path": "x.nc"},
}
FUNCTIONS = [name for name in dsjax.__all__ if inspect.isfunction(getattr(dsjax, name))]
FUNCTIONS = [name for name in FUNCTIONS if name not in ("compiled", "forget", "units_registry")]
OBJECTS = [object(), b"x", [object()], {3: 4}]
NUMBERS = [3, np.array(8), float("nan"), True]
# kind of argument: names of arguments, values that none of them is
KINDS = {
    "flag": (
        "aggregated allow_failures blocks disaggregated envelope feasible_only force kinks mixed resume stream",
        [*OBJECTS, *NUMBERS[:3], [], {}, "x"],
    ),
    "dict": ("at axes errors fixed limits settings", [*OBJECTS, *NUMBERS, []]),
    "path": ("output path", [*OBJECTS, *NUMBERS, [], {}]),
    "paths": ("catalogs paths", [*OBJECTS, *NUMBERS, {}]),
    "text": (
        "break_even catalog engine form kind minimize nic objective of precision study time until vary x y hardware",
        [*OBJECTS, *NUMBERS, {}],
    ),
    "list": ("between by kinds quantiles size where wrt", [object(), b"x", {3: 4}, *NUMBERS, {}]),
    "dataset": ("ds client", [*OBJECTS, *NUMBERS, [], {}, "x"]),
    "source": ("a b decode grid model prefill serve source", [object(), b"x", {3: 4}, *NUMBERS]),
    "number": (
        "any_size batch bins cached_fraction chips concurrency context devices dpi ep instances isl isl_cv max_chips "
        "max_memory max_tpot max_ttft min_tps_per_user moe_tp osl osl_cv peak per_host percentile requests_per_s "
        "samples seed spare top tp tpot tps_per_user ttft",
        [*OBJECTS, [], {}],
    ),
    "word": ("dtype phase", [*OBJECTS, *NUMBERS, [], {}]),
}
KIND_OF = {name: kind for kind, (names, _) in KINDS.items() for name in names.split()}


def needed(function):
    found = NEEDED.get(function, {"source": GRID})
    return found | {"ds": dsjax.sweep(GRID)} if "ds" in found else found


def wrong_of(function, name):
    """Values that an argument is not."""
    if (function, name) == ("fleets", "disaggregated"):  # a grid
        return KINDS["source"][1]
    if name == "source" and function.startswith(("validate", "engine")):
        return KINDS["path"][1]
    return KINDS[KIND_OF[name]][1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_of_another_type_are_input_errors(function, tmp_path, monkeypatch):
    """No traceback of Python's, whatever an argument is given."""
    monkeypatch.chdir(tmp_path)
    given = needed(function)
    parameters = inspect.signature(getattr(dsjax, function)).parameters.values()
    names = [p.name for p in parameters if p.kind != p.VAR_KEYWORD]
    if len(names) < len(parameters) and function != "ingest":
        names += [name for name in ("axes", "fixed", "settings", "limits", "catalogs") if name not in names]
    for name in names:
        for value in wrong_of(function, name):
            with pytest.raises(dsjax.InputError) as error:
                getattr(dsjax, function)(**(given | {name: value}))
                pytest.fail(f"{function}({name}={value!r}) is taken")
            assert "\n" not in str(error.value) and len(str(error.value)) <= 300
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: dsjax.plan(hardware=None, chips=8, isl=1, osl=1),
            "hardware: None; expected a text, or a list of texts",
        ),
        (lambda: dsjax.validate(["sys.toml"]), "source: ['sys.toml']; expected a path"),
        (lambda: dsjax.validate("sys.toml", fixed=3), "fixed: 3; expected a dict of names"),
        (lambda: dsjax.calibrate("x.csv", "gemm", "H20", where=3), "where: 3; expected a list of texts"),
        (lambda: dsjax.calibrate("x.csv", "gemm", "H20", time=3), "time: 3; expected a text"),
        (lambda: dsjax.launch("o1.nc", engine=["vllm"]), "engine: ['vllm']; expected a text"),
        (lambda: dsjax.open_netcdf(3), "path: 3; expected a path"),
        (lambda: dsjax.sweep(GRID, output=3), "output: 3; expected a path"),
        (lambda: dsjax.recommend(**DEMAND, mixed="no"), "mixed: 'no'; expected True or False"),
        (lambda: dsjax.recommend(**DEMAND, aggregated="no"), "aggregated: 'no'; expected True or False"),
        (lambda: dsjax.plan(**NEEDED["plan"], disaggregated="no"), "disaggregated: 'no'; expected True or False"),
        (lambda: dsjax.recommend(**DEMAND, max_chips=8.5), "max_chips: 8.5 is not an integer; expected an integer"),
        (lambda: dsjax.plan(**NEEDED["plan"], axes={"tp": []}), "axes['tp']: empty; expected at least one value"),
        (lambda: dsjax.write_csv(3, "x.csv"), "ds: 3; expected an xarray.Dataset"),
        (lambda: dsjax.best(GRID, client=3), "client: 3; expected a dask.distributed.Client"),
    ],
)
def test_the_argument_is_named(call, said):
    with pytest.raises(dsjax.InputError) as error:
        call()
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("value", [8, np.array(8), np.int64(8)])
@pytest.mark.parametrize("function", ["sweep", "plan"])
def test_an_array_without_a_dim_is_the_number_in_it(function, value):
    """As an axis it is no list of values, as any other argument a number."""
    with pytest.raises(dsjax.InputError, match=r"axes\['tp'\]: .*8.*; expected a list of values"):
        getattr(dsjax, function)(**(needed(function) | {"axes": {"tp": value}}))
    assert dsjax.load_grid(GRID, fixed={"batch": value}).fixed["batch"] == 8


def test_a_path_is_a_model_as_its_text_is(tmp_path):
    """As an argument, a fixed value, one of an axis, and in a grid."""
    shipped = Path(dsjax.__file__).parent / "data/models/Qwen3-8B.json"
    path = tmp_path / "config.json"
    path.write_text(shipped.read_text())
    assert dsjax.count(path).equals(dsjax.count(str(path)))
    asked = {"hardware": "H20", "chips": 1, "isl": 100, "osl": 10, "disaggregated": False}
    assert dsjax.plan(path, **asked).equals(dsjax.plan(str(path), **asked))
    for model in (path, [path]):
        given = {"axes": {"model": model}} if isinstance(model, list) else {"fixed": {"model": model}}
        assert [*dsjax.load_grid("default", **given).labels("model")] == [str(path)]
    assert plain({"model": path, "axes": {"model": (path, "x")}}) == {
        "model": str(path),
        "axes": {"model": (str(path), "x")},
    }


def test_types_that_are_alike_are_taken(tmp_path):
    assert dsjax.best(GRID, by=np.array(["hardware"])).equals(dsjax.best(GRID, by={"hardware"}))
    ds = dsjax.sweep(GRID, output=tmp_path / "x.nc", force=np.True_, catalogs=())
    assert dsjax.best(tmp_path / "x.nc", stream=None).sizes["rank"] == 1 and ds.attrs["dsjax_spec"]
