"""One model, many evaluators: every way of evaluating a point against the others, and against independent code.

python benchmarks/differential.py [--points 20000] [--seed 1] [--only NAME ...] [--gradients]

Spaces are drawn by seed. The oracles of tests/, which share no code with dsjax, know the core model of both phases
(chips with curves of the form `kernel`; engines, precisions, kinds of layer, pipelines of layers) and both studies. No
oracle knows batches of servers, pools, or other curves: there every evaluator is compared with NumPy's, the compiled
programs at all points, others at some. The table has, of every check: points, numbers compared, the largest relative
difference (of parts of a step: over the step), flags that differ. With `--gradients` instead: elasticities that are
not finite (`finite_slopes.py`). The exit code is 1 where a difference is above 1e-9, a flag differs, a slope is not
finite.
"""

import argparse
import dataclasses
import itertools
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import finite_slopes  # noqa: E402
import oracle_decode_gpu_2025  # noqa: E402
import oracle_sg2260e  # noqa: E402
import test_core  # noqa: E402
import test_decode_gpu_2025 as study_a  # noqa: E402
import test_kinds_of_layer as kinds  # noqa: E402
import test_sg2260e_points as study_b  # noqa: E402

import dsjax  # noqa: E402
from dsjax import evaluation  # noqa: E402
from dsjax.catalog import reader  # noqa: E402
from dsjax.results.handle import Results  # noqa: E402
from dsjax.search import ranking, streaming  # noqa: E402
from dsjax.space import grid  # noqa: E402
from dsjax.specs import records  # noqa: E402
from dsjax.sweeps import sweep  # noqa: E402

MOST = 1e-9  # relative difference
OF_CORE = ("step_time", "tps_per_user", "tps_per_chip", "ttft", "memory_per_chip", "chips", "dp", "ep")
PARTS = ("exposed_", "busy_", "block_time/")  # of a step: differences of them are over the step
SPACES = 50  # that many points of the core model are drawn from, at most A_SPACE of each
A_SPACE = 400, 4000
ONE_BY_ONE = 8  # points of a space, each evaluated as a space of its own


@dataclasses.dataclass
class Tally:
    """What one check has found."""

    points: int = 0
    numbers: int = 0
    largest: float = 0.0
    flags: int = 0
    worst: str = ""

    def compare(self, name, found, expected, scale=None, where=""):
        """Arrays or numbers: flags and whole numbers exactly, NaN and infinities where they are, others relatively.

        `where` is of all of them, or a list of each.
        """
        found, expected = np.asarray(found), np.asarray(expected)
        self.numbers += found.size
        if found.dtype.kind != "f":
            differ = found != expected
            if n := int(differ.sum()):
                self.flags, self.worst = self.flags + n, f"{name} {_at(where, differ)}"
            return
        scale = np.maximum(np.abs(found), np.abs(expected)) if scale is None else np.abs(scale)
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.abs(found - expected) / scale
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
        if gap.size and gap.max() > self.largest:
            self.largest, self.worst = float(gap.max()), f"{name} {_at(where, gap)}"

    def compare_all(self, ds, names, chosen, rights, where):
        """Variables at the chosen points of a dataset, all points at once; `rights`: what is right at each."""
        at = dict(zip(ds.step_time.dims, np.unravel_index(chosen, ds.step_time.shape), strict=True))
        step_time = np.array([right["step_time"] for right in rights])
        for name in names:
            found = np.asarray(ds[name].values[tuple(at[dim] for dim in ds[name].dims)])
            expected = np.array([right[name] for right in rights])
            scale = step_time if name.startswith(PARTS) else None
            self.compare(name, np.broadcast_to(found, expected.shape), expected, scale, where)


def _at(where, gaps):
    return where[int(np.argmax(gaps))] if isinstance(where, list) else where


# Against independent code


def core_spaces(rng):
    """(grid, own catalog rows, models) of the core model without end: drawn models and engines, kinds of layer."""
    rows = reader.load()
    chips = [name for name, row in rows["hardware"].items() if _form(row["curve"]) == "kernel"]
    engines = {name: row.get("curves", {}) for name, row in rows["engine"].items()}
    for i in itertools.count():
        seed, phase = int(rng.integers(1000)), ("decode", "prefill")[i % 2]
        given, own = test_core.random_space(seed, phase)
        given["axes"]["hardware"] = rng.choice(chips, 2, replace=False).tolist()
        own_curves = [rows["hardware"][chip]["curve"] for chip in given["axes"]["hardware"]]
        known = [name for name, its in engines.items() if {_form(its.get(c, c)) for c in own_curves} == {"kernel"}]
        given["axes"]["engine"] = [str(rng.choice(known)), "drawn"]
        if i % 3:  # kinds of layer: mixtures drawn, published ones
            own["model"] = {f"mixture-{n}": kinds.mixture(rng) for n in range(2)} if i % 3 == 1 else {}
            given["axes"]["model"] = list(own["model"]) or rng.choice(kinds.PUBLISHED, 2, replace=False).tolist()
            given["fixed"] |= kinds.layer_knots(rng)
            given["axes"].pop("model_num_key_value_heads", None)
        yield given, {record: rows for record, rows in own.items() if rows}


def _form(curve):
    return reader.load()["curve"][curve]["form"]


def core_and_oracle(rng, points, tally):
    for given, own in core_spaces(rng):
        with tempfile.TemporaryDirectory() as folder:
            path = test_core.own_catalog(Path(folder) / "own.toml", own)
            ds = dsjax.sweep(given, catalogs=path, blocks=False)
            catalog = reader.load(records.RECORDS, *reader.users(path))
        names = [name for name in ds.data_vars if name in OF_CORE or name.startswith("ok_")]
        most = int(np.clip(points // SPACES, *A_SPACE))
        chosen = rng.permutation(ds.step_time.size)[: min(most, points - tally.points)]
        where = [point for _, point in test_core.points(ds, chosen)]
        tally.compare_all(ds, names, chosen, [test_core.expected(point, catalog) for point in where], where)
        tally.points += len(chosen)
        if tally.points >= points:
            return


def study_a_and_oracle(rng, points, tally):
    while tally.points < points:
        given, inputs = study_a.drawn(rng)
        ds = dsjax.sweep(given)
        chosen = rng.permutation(ds.step_time.size)[: points - tally.points]
        where = [point for _, point in test_core.points(ds, chosen)]
        rights = [oracle_decode_gpu_2025.evaluate(**inputs(point)) for point in where]
        tally.compare_all(ds, study_a.COMPARED, chosen, rights, where)
        tally.points += len(chosen)


def study_b_and_oracle(rng, points, tally):
    """What the oracle refuses is masked; of a pipeline of two batches the time alone."""
    for phase in itertools.cycle(("decode", "prefill")):
        settings, inputs = study_b.perturbed(rng)
        load = "batch" if phase == "decode" else "prompts"
        loads = sorted({8, 16, *(int(n) for n in rng.choice(np.arange(17, 60), 4, replace=False))})
        axes = (study_b.DECODE if phase == "decode" else study_b.PREFILL) | {load: loads, "pipeline": ["naive", "tbo"]}
        fixed = {"phase": phase, "context": float(rng.integers(1, 20_000))}
        ds = dsjax.sweep({"study": study_b.STUDY, "axes": axes, "fixed": fixed}, settings=settings)
        names = ["step_time", "tps_per_chip", "tps_total", "mfu", "memory_per_chip"]
        names += ["tps_per_user" if phase == "decode" else "ttft"]
        masks = [n for n in ds.data_vars if n.startswith("ok_") and n not in ("ok_memory", "ok_even_batch")]
        full = {n: test_core.full(ds, n) for n in (*names, *masks, "ok_even_batch")}
        for index, point in test_core.points(ds, rng.permutation(ds.step_time.size)[: points - tally.points]):
            layout = {n: point[n] for n in ("chips", "tp", "moe_tp")} | {"sp": point.get("sp", 1)}
            given = inputs(phase, point["nic"]) | layout | {"batch": point[load], "context": int(fixed["context"])}
            try:
                right = oracle_sg2260e.evaluate(**given, ep=point["chips"] // point["moe_tp"])
            except ValueError:
                right = None
            tally.compare("possible", all(full[n][index] for n in masks), right is not None, where=point)
            tally.points += 1
            if right is None:
                continue
            if point["pipeline"] == "naive":
                for name in names:
                    tally.compare(name, full[name][index], right["step_time" if name == "ttft" else name], where=point)
            else:
                even = bool(np.isfinite(right["tbo_step_time"]))
                tally.compare("ok_even_batch", full["ok_even_batch"][index], even, where=point)
                if even:
                    tally.compare("step_time", full["step_time"][index], right["tbo_step_time"], where=point)
        if tally.points >= points:
            return


# Evaluator against evaluator

SERVED = {"model": "DeepSeek-V3", "phase": "serve"}
POOLS = {"model": "DeepSeek-V3", "phase": "disaggregated"}


def spaces(rng):
    """Spaces of every study and phase, over chips, engines, batches, curves and kinds of layer; without end."""
    rows = reader.load()
    core, folder = core_spaces(rng), tempfile.TemporaryDirectory()

    def some(record, n):
        return rng.choice(list(rows[record]), n, replace=False).tolist()

    for i in itertools.count():
        given, own = next(core)
        if i % 2:  # other curves too
            given["axes"] |= {"curve": ["measured", "peak"], "hardware": some("hardware", 2)}
            given["fixed"] = {name: x for name, x in given["fixed"].items() if not name.startswith("curve_")}
        path = test_core.own_catalog(Path(folder.name) / f"own{i}.toml", own)
        yield grid.load(given, catalogs=path)
        yield grid.load(study_a.drawn(rng)[0])
        yield grid.load(study_b.SMALL, settings=study_b.perturbed(rng)[0])
        lengths = {"isl": float(rng.integers(200, 9000)), "osl": float(rng.integers(20, 2000)), "nic": "CX7"}
        load = [("concurrency", [1, 7, 64, 500]), ("requests_per_s", [0.1, 1.0, 6.0])][i % 2]
        axes = {"hardware": some("hardware", 2), "engine": some("engine", 2)}
        axes |= {"batching": ["prefill-first", "chunked"], "tp": [1, 4, 8], load[0]: load[1]}
        yield grid.load(SERVED | {"axes": axes, "fixed": lengths | {"chips": 8}})
        pool = {"tp": [1, 8], "chips": 8, "nic": "CX7", "engine": some("engine", 1)[0]}
        pools = {name: pool | {"hardware": some("hardware", 2)} for name in ("prefill", "decode")}
        lengths = {name: lengths[name] for name in ("isl", "osl")} | {"transfer_nic": "CX7"}
        axes = {"requests_per_s": [0.5, 4.0], "prefill_instances": [1, 3], "decode_instances": [1, 2]}
        yield grid.load(POOLS | {"axes": axes, "fixed": lengths} | pools)


def drawn_points(space, rng, n):
    """Points {axis: value} of a space, and their positions."""
    shape = tuple(space.sizes.values())
    places = list(zip(*np.unravel_index(rng.permutation(space.points)[:n], shape), strict=True))
    return [{axis: space.axes[axis][i] for axis, i in zip(space.axes, place, strict=True)} for place in places], places


def there(space, found, places):
    """{variable: values at places} of what `evaluate` found."""
    position = {axis: i for i, axis in enumerate(space.sizes)}
    index = np.array(places).T
    picked = {name: array[tuple(index[position[axis]] for axis in dims)] for name, (dims, array) in found.items()}
    return {name: np.broadcast_to(array, len(places)) for name, array in picked.items()}


def scaled(name, values):
    return values["step_time"] if name.startswith(PARTS) and "step_time" in values else None


def compiled(space, whole, rng, tally):
    """All points of a space by compiled programs; those of servers have NumPy's part in common."""
    found = evaluation.evaluate(space, compiled=True)
    every = list(np.ndindex(*space.sizes.values()))
    _compared(tally, there(space, found, every), there(space, whole, every), space)
    tally.points += space.points


def at_points(space, whole, rng, tally):
    chosen, places = drawn_points(space, rng, 200)
    expected = there(space, whole, places)
    _compared(tally, evaluation.at(space, chosen, tuple(expected)), expected, space)
    tally.points += len(chosen)


def one_by_one(space, whole, rng, tally):
    """Points as spaces of their own: each alone, and many of one structure at once."""
    chosen, places = drawn_points(space, rng, ONE_BY_ONE)
    expected = there(space, whole, places)
    alone = [space.only(point) for point in chosen]
    together = [] if space.study.requests else evaluation.points(alone, [{}] * len(alone))
    for i, one in enumerate(alone):
        right = {name: values[i] for name, values in expected.items()}
        found = {name: array.reshape(()) for name, (_, array) in evaluation.evaluate(one).items()}
        for each in (found, *({name: array[0] for name, array in some.items()} for some in together[i : i + 1])):
            _compared(tally, {name: each[name] for name in right if name in each}, right, chosen[i])
    tally.points += len(chosen)


def searched(space, whole, rng, tally):
    """The best points, streamed and held."""
    held = ranking.best(Results(sweep.of_space(space, "float64", blocks=False), space), by=(), top=5)
    streamed = streaming.best(space, by=(), top=5, dtype="float64")
    tally.compare("rank", streamed.sizes["rank"], held.sizes["rank"], where=space.title)
    objective = space.objective
    if streamed.sizes["rank"] == held.sizes["rank"]:
        tally.compare(objective, streamed[objective].values, held[objective].values, where=space.title)
    tally.points += space.points


def _compared(tally, found, expected, where):
    for name in found:
        tally.compare(name, found[name], expected[name], scaled(name, expected), getattr(where, "title", where))


def evaluators(check):
    def run(rng, points, tally):
        for space in spaces(rng):
            check(space, evaluation.evaluate(space, compiled=False), rng, tally)
            evaluation.forget()
            if tally.points >= points:
                return

    return run


CHECKS = {  # {name: (check, its share of --points)}
    "core model, oracle": (core_and_oracle, 1.0),
    "study A, oracle": (study_a_and_oracle, 1.0),
    "study B, oracle": (study_b_and_oracle, 1.0),
    "evaluation.at, NumPy": (evaluators(at_points), 0.2),
    "one point, NumPy": (evaluators(one_by_one), 0.005),
    "streamed, held": (evaluators(searched), 1.0),
    "compiled, NumPy": (evaluators(compiled), 1.0),
}


def rows(points, seed, names=None):
    """[(name, `Tally`, seconds)] of the checks."""
    for name in names or CHECKS:
        check, share = CHECKS[name]
        tally, start = Tally(), time.perf_counter()
        check(np.random.default_rng(seed), max(1, int(points * share)), tally)
        yield name, tally, time.perf_counter() - start


def gradients(points, seed):
    steps = (space for space in spaces(np.random.default_rng(seed)) if not space.study.requests)
    print(f"{'grid':34} {'points':>8} {'numbers':>11} {'not finite':>10} {'seconds':>8}")
    failed = False
    for name, n, numbers, bad, worst, seconds in finite_slopes.rows(points, seed, itertools.islice(steps, 12)):
        print(
            f"{name:34} {n:8,} {numbers:11,} {bad:10,} {seconds:8.0f}" + (f"\n    {worst}" if bad else ""), flush=True
        )
        failed |= bad > 0
    return int(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=20_000, help="of a check, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CHECKS, metavar="NAME", help=f"some of: {', '.join(CHECKS)}")
    parser.add_argument("--gradients", action="store_true", help="elasticities that are not finite, instead")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.gradients:
        return gradients(given.points, given.seed)
    print(f"{'check':22} {'points':>10} {'numbers':>12} {'largest':>9} {'flags':>6} {'seconds':>8}")
    failed = False
    for name, tally, seconds in rows(given.points, given.seed, given.only):
        print(f"{name:22} {tally.points:10,} {tally.numbers:12,} {tally.largest:9.1e} {tally.flags:6} {seconds:8.0f}")
        if tally.largest > MOST or tally.flags:
            failed = True
            print(f"    {tally.worst}")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
