"""`phase = "serve"`: steps of a server against the core model's, tables, laws of the answers, files, bad input."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import dsjax
from dsjax import evaluation
from dsjax.errors import InputError, NothingFeasible
from dsjax.evaluation import servers
from dsjax.search import slabwise
from dsjax.serving.instances import table
from dsjax.space import grid
from dsjax.specs.variables import OF_SERVERS

FIXED = {"nic": "CX7", "isl": 2048, "osl": 512, "tp": 8, "chips": 8, "engine": "sglang", "hardware": "H200"}


def space(axes=None, **fixed):
    """A space of servers of DeepSeek-R1 on eight H200."""
    axes = {"concurrency": [1, 8, 32]} if axes is None else axes
    given = {name: value for name, value in (FIXED | fixed).items() if name not in axes}
    return grid.load({"model": "DeepSeek-R1", "phase": "serve", "axes": axes, "fixed": given})


def core(phase, **fixed):
    """Variables of the core model's step of the same layout."""
    given = {name: value for name, value in FIXED.items() if name not in ("isl", "osl")}
    given |= {"context_cv": 0.0} | fixed
    at = grid.load({"model": "DeepSeek-R1", "phase": phase, "axes": {"tp": [given.pop("tp")]}, "fixed": given})
    return {name: float(x.ravel()[0]) for name, (_, x) in evaluation.evaluate(at).items()}


def steps_of(at):
    """`Table` of the one point of a space."""
    found = servers.Points(at, ("ttft_mean", "ttft_p90"))
    chunked = at.fixed["batching"] == "chunked"
    law = np.zeros(1, int)
    return found.steps({}, law, found.laws.asked({}, 1), chunked)


def one(**fixed):
    """The space of one server."""
    whole = space(axes={"hardware": ["H200"]}, concurrency=fixed.pop("concurrency", 16), **fixed)
    return whole.only({"hardware": "H200"})


def numbers(*values):
    return [np.array([float(x)]) for x in values]


@pytest.mark.parametrize("tp", [8, 1])
def test_a_step_of_decode_is_one_of_the_core_model(tp):
    steps = steps_of(one(tp=tp, isl_cv=0.0, osl_cv=0.0))
    context = 2048 + 0.5 * 512
    for sequences in (8, 64):  # nodes; those of groups that are equally full
        found = core("decode", tp=tp, context=context, concurrency=sequences)["step_time"]
        here = steps.decode(*numbers(sequences))[0]
        few = core("decode", tp=tp, context=context, concurrency=sequences + 8 // tp * (tp < 8))["step_time"]
        assert (here == pytest.approx(found, rel=2e-3)) if tp == 8 else found <= here * 1.02 <= few * 1.03


def test_tables_are_straight_between_their_nodes():
    nodes = table.nodes(3000.0)
    values = np.cumsum(np.random.default_rng(0).random((3, len(nodes))), axis=-1)
    x = np.concatenate([nodes, nodes[:-1] * 1.1, nodes[1:] * (1.0 - 1e-15), [1.0, 2.0 - 1e-9]])
    row = np.array([2, 0, 2, 1])
    rows = table.interpolated(table.Rows(values, row), np.tile(x, (4, 1)))
    for found, i in zip(rows, row, strict=True):
        np.testing.assert_allclose(found, np.interp(x, nodes, values[i]), rtol=1e-12)
    here = table.interpolated(values[row], np.full(4, 700.5))
    np.testing.assert_allclose(here, [np.interp(700.5, nodes, values[i]) for i in row], rtol=1e-12)
    rise = (values[:, 1] - values[:, 0]) / (nodes[1] - nodes[0])
    np.testing.assert_allclose(table.interpolated(values, np.full(3, 0.25)), values[:, 0] - 0.75 * rise, rtol=1e-12)


def test_a_step_of_prompts_is_one_of_the_core_model():
    engine = {"engine_request_s": 0.0, "engine_prompt_layer_s": 0.0}
    steps = steps_of(one(isl_cv=0.0, **engine))
    for prompts in (1, 2, 4):
        found = core("prefill", context=2048, prompts=prompts, **engine)["step_time"]
        assert steps.prompts(*numbers(2048 * prompts, 2048**2 / 2 * prompts))[0] == pytest.approx(found, rel=1e-9)
    half = core("prefill", context=1024, prompts=1, **engine)["step_time"]
    assert steps.prompts(*numbers(1024, 1024**2 / 2))[0] == pytest.approx(half, rel=0.01)


def test_prompts_take_no_less_than_the_host_that_launches_them():
    steps = steps_of(one())
    short, long = (steps.prompts(*numbers(n, n * n / 2))[0] for n in (64, 8192))
    assert short == pytest.approx(61 * 1.35e-3, rel=1e-3) and long > 2.0 * short
    assert steps_of(one(engine="vllm")).prompts(*numbers(64, 64 * 32))[0] < 0.5 * short


def test_a_prompt_alone_is_computed_by_one_group():
    steps = steps_of(one(tp=1))
    together, alone = (of(*numbers(8 * 2048, 8 * 2048**2 / 2))[0] for of in (steps.prompts, steps.alone))
    assert 2.0 * together < alone < 8.0 * together


@pytest.mark.parametrize("tp", [8, 1])
@pytest.mark.parametrize("mtp", [0, 2])
def test_a_mixed_step_reads_the_weights_once(tp, mtp):
    steps = steps_of(one(batching="chunked", tp=tp, mtp=mtp))
    for sequences in (2.0, 24.0):
        for tokens in (64.0, 1000.0, 6000.0):
            b, n, p = numbers(sequences, tokens, tokens * 1000.0)
            decode, prompts, mixed = steps.decode(b)[0], steps.prompts(n, p)[0], steps.mixed(b, n, p)[0]
            assert max(decode, prompts) * 0.99 <= mixed < decode + prompts
    b, n, p = numbers(24.0, 1e-9, 1e-6)
    assert steps.mixed(b, n, p)[0] == pytest.approx(steps.decode(b)[0], rel=0.2)


def test_values_between_the_nodes_of_a_table_are_within_one_percent():
    errors = {}
    for engine in ("sglang", "vllm"):
        for tp in (1, 8):
            at = one(engine=engine, tp=tp, max_batch=512)
            steps, found = steps_of(at), servers.Points(at, ("ttft_mean",))
            layouts, laws = servers.layouts_of(at), found.laws
            for x in (3.3, 11.0, 47.0, 170.0):
                loads = {"sequences": ("", x), "context": ("", laws.context[0]), "spread": ("", laws.spread[0])}
                exact = layouts.evaluated(servers.steps.decode_at(), loads)["seconds"][1].item()
                errors["decode", engine, tp, x] = abs(steps.decode(*numbers(x))[0] / exact - 1.0)
            for x in (300.0, 1700.0, 9000.0):
                budget = max(laws.budget[0], laws.prompt[0])
                loads = {"prompt": laws.prompt[0], "budget": budget, "pairs": laws.pairs[0], "cached": 0.0, "tokens": x}
                loads = {name: ("", value) for name, value in loads.items()}
                exact = layouts.evaluated(servers.steps.prompts_at, loads)["seconds"][1].item()
                here = steps.prompts(*numbers(x, x * laws.pairs[0]))[0] - steps.prompt_s[0] / steps.prompt[0] * x
                errors["prompts", engine, tp, x] = abs(here / exact - 1.0)
    assert np.median(list(errors.values())) < 2e-3
    assert max(errors.values()) < 1e-2, max(errors, key=errors.get)


@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
def test_one_user_waits_for_nobody(batching):
    at = one(concurrency=1, batching=batching, isl_cv=0.0)
    found = {name: x.item() for name, (_, x) in evaluation.evaluate(at).items()}
    steps = steps_of(at)
    assert found["ttft_mean"] == pytest.approx(steps.alone(*numbers(2048, 2048**2 / 2))[0], rel=2e-2)
    assert found["tpot_mean"] == pytest.approx(steps.decode(*numbers(1))[0], rel=1e-8)
    assert found["requests_per_s_served"] * found["latency_mean"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("load", ["concurrency", "requests_per_s"])
@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
def test_laws_over_a_grid(load, batching):
    values = [1, 2, 8, 32, 64] if load == "concurrency" else [0.02, 0.1, 0.5, 1.0, 2.0]
    ds = dsjax.sweep(
        {
            "model": "DeepSeek-R1",
            "phase": "serve",
            "axes": {"hardware": ["H200", "B200"], "tp": [1, 8], load: values},
            "fixed": {name: x for name, x in FIXED.items() if name not in ("hardware", "tp")} | {"batching": batching},
        }
    )
    for name in OF_SERVERS:
        assert np.isfinite(ds[name]).all(), name
    ok = ds["ok_stable"] & ds["ok_memory"] & ds["ok_kv"]
    inside = ds["requests_per_s_served"] * (ds["latency_mean"])
    assert ok.any()
    if load == "concurrency":
        np.testing.assert_allclose(inside.where(ok), (0.0 * ds["tpot"] + ds["concurrency"]).where(ok), rtol=2e-5)
    for name in ("ttft", "tpot", "itl", "latency"):
        low, middle, high = (ds[f"{name}_{p}"].where(ok) for p in ("p50", "p90", "p99"))
        assert not ((low > middle * 1.0001) | (middle > high * 1.0001)).any(), name
    for name in ("ttft_mean", "tpot_mean", "latency_mean"):
        rises = ds[name].where(ok).diff(load)
        assert not (rises < -1e-6 * ds[name]).any(), name
    assert not (ds["requests_per_s_served"] > ds["requests_per_s_max"] * 1.02).where(ok).fillna(False).any()
    parts = sum(ds[f"exposed_{part}"] for part in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(parts, ds["step_time"], rtol=1e-9)


def test_the_stages_of_a_request_add_up():
    at = one(concurrency=32)
    latency = evaluation.evaluate(at, names=("latency_mean",))["latency_mean"][1].item()
    assert sum(evaluation.request_stages(at).values()) == pytest.approx(latency, rel=1e-9)


def test_overload_is_masked_and_finite():
    ds = dsjax.sweep(_grid(axes={"requests_per_s": [0.1, 1e3]}))
    assert ds["ok_stable"].values.tolist() == [True, False]
    assert not ds["feasible"][1]
    assert all(np.isfinite(ds[name]).all() for name in OF_SERVERS)
    assert float(ds["utilisation"][1]) == pytest.approx(1e3 / float(ds["requests_per_s_max"][1]))


def test_a_model_that_does_not_fit_is_masked():
    ds = dsjax.sweep(_grid(axes={"hardware": ["L20", "H200"]}, concurrency=4))
    assert ds["ok_memory"].values.tolist() == [False, True]
    assert all(np.isfinite(ds[name]).all() for name in OF_SERVERS)


def test_cached_prompts_are_computed_sooner_and_attend_to_what_is_cached():
    ds = dsjax.sweep(_grid(axes={"cached_fraction": [0.0, 0.5, 0.9, 1.0]}, concurrency=1, isl=32768))
    assert (ds["ttft_mean"].diff("cached_fraction") < 0.0).all()
    half, short = float(ds["ttft_mean"][1]), dsjax.sweep(_grid(axes={"concurrency": [1]}, isl=16384))
    assert half > float(short["ttft_mean"][0]) * 1.02  # of as many new tokens, which attend to fewer


def test_what_the_host_has_is_read_back():
    ds = dsjax.sweep(_grid(axes={"host_bytes_per_s": [1e9, 1e11]}, concurrency=1, isl=32768, host_fraction=0.75))
    plain, hbm = (
        dsjax.sweep(_grid(axes={"concurrency": [1]}, isl=32768, cached_fraction=share)) for share in (0.0, 0.75)
    )
    slow, fast = ds["ttft_mean"].values
    assert float(hbm["ttft_mean"][0]) < fast < 0.5 * float(plain["ttft_mean"][0])
    position = float(ds["kv_occupancy"][0])
    assert position > 0.0 and slow > fast
    read = (slow - fast) / (1.0 / 1e9 - 1.0 / 1e11)  # bytes of a chip: 61 layers, 576 elements of 2 B a position
    assert read == pytest.approx(0.75 * 32768 * 61 * 576 * 2, rel=0.02)


def test_prefixes_take_room():
    ds = dsjax.sweep(_grid(axes={"prefix_tokens": [0, 200_000]}, concurrency=64))
    assert float(ds["requests_per_s_max"][1]) < float(ds["requests_per_s_max"][0])
    assert float(ds["kv_occupancy"][1]) > float(ds["kv_occupancy"][0])


def test_drafts_that_are_accepted_shorten_the_answer():
    ds = dsjax.sweep(_grid(axes={"mtp": [0, 1]}, concurrency=4))
    assert 1.3 < float(ds["tps_per_user"][1] / ds["tps_per_user"][0]) < 1.95


MANY = {"hardware": ["H200", "L20"], "batching": ["prefill-first", "chunked"], "tp": [1, 8]}
PAIRS = {"decode_tp": [1, 8], "prefill_tp": [1, 8], "decode_hardware": ["H200", "H20"]}


@pytest.mark.parametrize("load", [{"concurrency": [1, 3000]}, {"requests_per_s": [0.1, 60.0]}], ids=" ".join)
@pytest.mark.parametrize("pools", [False, True])
def test_a_server_alone_is_one_of_many(load, pools):
    """Every variable, parts of the step too, of servers that take no more as well: of no other layout of the space."""
    if pools:
        fixed = {"isl": 9000, "osl": 300, "transfer_nic": "CX7", "prefill_chips": 8, "decode_chips": 8}
        fixed |= {f"{pool}_{name}": x for pool in ("prefill", "decode") for name, x in (("nic", "CX7"), ("mtp", 0))}
        fixed |= {"prefill_hardware": "H200", "prefill_instances": 2, "decode_instances": 2}
        sections = {"axes": PAIRS | load, "fixed": fixed}
        at = grid.load({"model": "DeepSeek-R1", "phase": "disaggregated"} | sections)
    else:
        at = space(axes=MANY | load, isl=9000.0)
    whole = evaluation.evaluate(at, compiled=False)
    assert not whole["ok_stable"][1].all() or "concurrency" in load
    for place in np.ndindex(*at.sizes.values()):
        index = dict(zip(at.axes, place, strict=True))
        alone = evaluation.evaluate(at.only({axis: at.axes[axis][i] for axis, i in index.items()}))
        for name, (dims, values) in whole.items():
            if name in alone:
                expected = values[tuple(index[axis] for axis in dims)]
                np.testing.assert_allclose(alone[name][1].ravel()[0], expected, 1e-9, err_msg=f"{name} at {index}")


@pytest.mark.parametrize("shared", [2**13, 1])  # rows of tables that points share, and a row for each point
@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
def test_compiled_and_numpy_agree(batching, shared, monkeypatch):
    monkeypatch.setattr("dsjax.evaluation.servers.pieces.SHARED", shared)
    at = space(axes={"concurrency": [1, 8, 64, 400], "tp": [1, 8]}, batching=batching)
    here, there = (evaluation.evaluate(at, compiled=compiled) for compiled in (False, True))
    for name, (_, values) in here.items():
        np.testing.assert_allclose(values.astype(float), there[name][1].astype(float), rtol=1e-7, err_msg=name)


def test_a_file_answers_as_its_grid(tmp_path):
    path, given = tmp_path / "s.nc", _grid(axes={"hardware": ["H200", "B200"], "concurrency": [4, 64, 256]})
    given["constraints"] = {"max_ttft_p99": 2.0, "max_tpot_p90": "50 ms"}
    ds = dsjax.sweep(given, output=path)
    assert xr.open_dataset(path)["ttft_p99"].attrs["units"] == "s"
    for answer in (dsjax.best, dsjax.pareto):
        xr.testing.assert_allclose(answer(given).drop_attrs(), answer(path).drop_attrs())
    assert {"ok_ttft_p99", "ok_tpot_p90"} <= set(ds)
    assert bool((ds["feasible"] == (ds["ok_ttft_p99"] & ds["ok_tpot_p90"] & ds["ok_kv"] & ds["ok_memory"])).all())


def test_the_step_of_a_server_is_not_changed_by_its_load_being_sampled():
    at = one(concurrency=16)
    values = evaluation.samples(at, {("workload", "isl"): [1024.0, 2048.0]}, 2, ("ttft_mean", "tpot_p90"))
    plain = evaluation.evaluate(at, names=tuple(values))
    short = evaluation.evaluate(dataclasses.replace(at, fixed=at.fixed | {"isl": 1024}), names=tuple(values))
    for name, found in values.items():
        np.testing.assert_allclose(found, [short[name][1], plain[name][1]], rtol=1e-9)


def test_samples_of_lengths_and_of_a_chip_together():
    """Tables of steps have a row for each sample, and each again for every variant of the load."""
    at = one(concurrency=16)
    moved = {("workload", "isl"): [1024.0, 2048.0, 3000.0], ("hardware", "hbm_bytes_per_s"): [3e12, 4e12, 6e12]}
    names = ("ttft_mean", "ttft_p90", "tpot_p90")
    values = evaluation.samples(at, {key: np.array(x) for key, x in moved.items()}, 3, names)
    for i in range(3):
        fixed = {"isl": moved["workload", "isl"][i]}
        fixed |= {"hardware_hbm_bytes_per_s": moved["hardware", "hbm_bytes_per_s"][i]}
        plain = evaluation.evaluate(one(concurrency=16, **fixed), names=names)
        assert {name: values[name][i] for name in names} == pytest.approx(
            {name: float(plain[name][1]) for name in names}, rel=1e-9
        )


def test_what_would_lower_the_first_token():
    ds = dsjax.sensitivity(_grid(axes={"concurrency": [8, 32]}), of="ttft_p99", at={"concurrency": 32})
    slopes = dict(zip(ds["parameter"].values.tolist(), ds["elasticity"].values.tolist(), strict=True))
    assert slopes["hardware.fp8_flops_per_s"] < -0.05
    assert slopes["hardware.hbm_bytes_per_s"] < 0.0
    h = 1e-3
    moved = [
        dsjax.sweep(_grid(axes={"concurrency": [32]}), settings={"hardware.H200.fp8_flops_per_s": rate * (1 + s * h)})
        for rate in [grid.load(_grid(axes={"concurrency": [32]})).rows["hardware"]["H200"]["fp8_flops_per_s"]]
        for s in (-1, 1)
    ]
    slope = np.log(float(moved[1]["ttft_p99"][0] / moved[0]["ttft_p99"][0])) / (2 * h)
    assert slopes["hardware.fp8_flops_per_s"] == pytest.approx(slope, rel=1e-2)


def test_the_largest_rate_within_a_limit():
    given = _grid(axes={"tp": [8]}, requests_per_s=0.5)
    given["constraints"] = {"max_ttft_p90": 1.0}
    ds = dsjax.solve(given, vary="requests_per_s", until="feasible", between=(0.01, 100.0))
    (rate,) = ds["value"].values
    below, above = (
        dsjax.sweep(given, fixed={"requests_per_s": float(rate * x)})["feasible"].item() for x in (0.999, 1.001)
    )
    assert below and not above


def _grid(axes, **fixed):
    given = {name: value for name, value in (FIXED | fixed).items() if name not in axes}
    return {"model": "DeepSeek-R1", "phase": "serve", "axes": axes, "fixed": given}


@pytest.mark.parametrize(
    ("axes", "fixed", "words"),
    [
        ({"tp": [8]}, {}, "concurrency or requests_per_s: missing; expected one of the two"),
        ({"concurrency": [8]}, {"requests_per_s": 1.0}, "concurrency: beside requests_per_s; expected one"),
        ({"concurrency": [8]}, {"cached_fraction": 1.5}, "cached_fraction: 1.5 is out of range; expected"),
        ({"concurrency": [8]}, {"isl": -1}, "isl: -1 is out of range"),
        ({"concurrency": [8]}, {"cached_fraction": 0.9, "host_fraction": 0.2}, "host_fraction: up to 0.2 beside"),
        ({"concurrency": [8]}, {"batching": "none"}, "batching"),
        ({"concurrency": [8], "phase": ["serve", "decode"]}, {}, "expected a server's phase alone"),
        ({"concurrency": [8]}, {"batch": 8}, "batch"),
        ({"concurrency": [8]}, {"context": 8}, "context"),
    ],
)
def test_bad_input(axes, fixed, words):
    given = _grid(axes, **fixed)
    if "phase" in axes:
        del given["phase"]
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        grid.load(given)


@pytest.mark.parametrize("name", ["isl", "osl"])
def test_lengths_are_asked_for(name):
    given = _grid({"concurrency": [8]})
    del given["fixed"][name]
    with pytest.raises(InputError, match=f"missing {name}|without isl"):
        grid.load(given)


def test_limits_on_variables_of_a_server_are_not_those_of_a_step():
    given = {"model": "DeepSeek-R1", "axes": {"batch": [8]}, "fixed": FIXED | {"ep": 8}}
    with pytest.raises(InputError, match="ttft_p90 is not defined in decode"):
        grid.load(given | {"constraints": {"max_ttft_p90": 1.0}})


@pytest.mark.parametrize("limit", [{"max_ttft_p99": 1.0, "max_tpot_p90": 0.03}, {"max_tpot": 0.03}])
def test_a_search_slab_by_slab_finds_what_a_held_one_finds(limit, monkeypatch):
    monkeypatch.setattr("dsjax.search.slabwise.LEAST", 40)
    monkeypatch.setattr("dsjax.search.slabwise.MOST", 40)
    monkeypatch.setattr("dsjax.evaluation.servers.points.BLOCK", 10)
    monkeypatch.setattr("dsjax.search.slabwise.FULL", 3)
    given = _grid(axes={"hardware": ["H20", "H200", "B200"], "tp": [1, 8], "concurrency": [1, 2, 4, 8, 16, 32, 64]})
    given |= {"constraints": limit}
    for search in (
        lambda **how: dsjax.best(given, by=["hardware"], top=2, **how),
        lambda **how: dsjax.best(given, objective="-ttft_p50", **how),
        lambda **how: dsjax.pareto(given, x="tps_per_user", y="tps_per_chip", by=["hardware"], **how),
    ):
        held, streamed = search(stream=False), search(stream=True)
        assert held.sizes["rank"] > 0
        for name, values in held.drop_vars("ties").variables.items():
            other = np.broadcast_to(streamed[name].values, np.broadcast_shapes(values.shape, streamed[name].shape))
            here = np.broadcast_to(values.values, other.shape)
            if here.dtype.kind == "f":
                np.testing.assert_allclose(here, other, rtol=1e-9, err_msg=name)
            else:
                assert (here == other).all(), name


@pytest.mark.parametrize("most", [2, 5, 40])
@pytest.mark.parametrize("pools", [False, True])
def test_a_histogram_slab_by_slab_is_that_of_the_dataset(most, pools, monkeypatch):
    """Also where the last slab of an axis overlaps the one before it."""
    monkeypatch.setattr("dsjax.search.slabwise.LEAST", most)
    monkeypatch.setattr("dsjax.search.slabwise.MOST", most)
    axes = {"concurrency": [1, 2, 4, 8, 16, 32, 64]}
    given = _grid(axes={"hardware": ["H20", "H200", "B200"], "tp": [1, 8]} | axes)
    given |= {"constraints": {"max_tpot_p90": 0.03}}
    if pools:
        pool = {"hardware": ["H20", "H200", "B200"], "tp": [1, 8], "chips": 8, "nic": "CX7"}
        given |= {"phase": "disaggregated", "axes": axes, "prefill": pool, "decode": pool}
        given["fixed"] = {"isl": 2048, "osl": 256}
    held, streamed = (dsjax.histogram(given, of="ttft_p90", bins=5, stream=stream) for stream in (False, True))
    assert 10 < held["count"].sum() < 252 and (held["count"] > 0).sum() > 1
    xr.testing.assert_allclose(streamed, held, rtol=1e-12)


@pytest.mark.parametrize(("tp", "ep"), [(8, 8), (1, 8)])
def test_a_chunk_has_a_token_for_each_sequence_of_its_group(tp, ep):
    """And one for prompts at least: 64 tokens a step and group, beside 63 sequences that it admits."""
    given = space({"max_batch": [16, 63, 64, 128]}, tp=tp, ep=ep, batching="chunked", chunk_tokens=64, concurrency=4)
    ok, found = (evaluation.evaluate(given, names=("ok_budget", "ok_memory"))[x][1] for x in ("ok_budget", "ok_memory"))
    assert ok.ravel().tolist() == [True, True, False, False] and found.all()


def test_a_histogram_of_no_server_is_none(monkeypatch):
    given = _grid({"concurrency": [8, 16]}) | {"constraints": {"max_ttft_p90": 1e-4}}
    with pytest.raises(NothingFeasible, match="no feasible point has ttft_p50"):
        dsjax.histogram(given, of="ttft_p50", stream=True)
    monkeypatch.setattr("dsjax.machine.room", lambda *most: 10)
    with pytest.raises(InputError, match="ttft_p50: 2 values fill the memory that is free; expected fewer points"):
        slabwise.values(grid.load(_grid({"concurrency": [8, 16]})), "ttft_p50")


def test_tp_beyond_the_chips_is_masked_and_finite():
    ds = dsjax.sweep(
        {
            "model": "DeepSeek-R1",
            "phase": "serve",
            "axes": {"tp": [8, 16], "concurrency": [1, 64]},
            "fixed": {"hardware": "H200", "nic": "CX7", "chips": 8, "isl": 2048, "osl": 256},
        }
    )
    assert ds["feasible"].sel(tp=8).all() and not ds["feasible"].sel(tp=16).any()
    for name in ("ttft_mean", "tpot_mean", "ttft_p90", "memory_per_chip"):
        assert np.isfinite(ds[name]).all(), name


def test_an_axis_of_one_pipeline_has_the_dims_of_one_of_several():
    """Tables look at the choices of a space alone; dims are those of every choice."""
    axes = {"nic": ["CX7", "CX8"], "moe_tp": [1, 2], "concurrency": [8, 32]}
    one = space(axes | {"pipeline": ["naive"]}, tp=4, chips=16)
    several = space(axes | {"pipeline": ["naive", "dual-mbatch"]}, tp=4, chips=16)
    first, second = servers.evaluate(one), servers.evaluate(several)
    known = servers.variables(one)
    assert {name: dims for name, (dims, _) in first.items()} == {name: dims for name, (dims, _) in known.items()}
    for name, (dims, array) in first.items():
        assert second[name][0] == dims
        assert array.shape == tuple(one.sizes[axis] for axis in dims) and array.flags.writeable
        of = tuple(slice(1) if axis == "pipeline" else slice(None) for axis in dims)
        np.testing.assert_array_equal(array, second[name][1][of], err_msg=name)
