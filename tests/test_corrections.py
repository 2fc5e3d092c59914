"""The 2025 decode study corrected: against plain Python at every row, laws of the chain, what is printed."""

import csv
import io
import json
import math

import jax
import numpy as np
import oracle_decode_gpu_2025 as oracle
import pytest

import dsjax
from dsjax import cli, evaluation
from dsjax.catalog import reader
from dsjax.reproduction import corrections
from dsjax.space import grid
from dsjax.studies import decode_gpu_2025

STUDY = "decode_gpu_2025"
SLIPS = [c.name for c in corrections.CORRECTIONS]
WEIGHT = {"kv2-w2": 2, "kv1-w2": 2, "kv1-w1": 1}
KV = {"kv2-w2": 2, "kv1-w2": 1, "kv1-w1": 1}
NVLINK = {"H800": (200e9, 8), "H20": (450e9, 8), "A100": (300e9, 8), "L20": (32e9, 8)}  # 0.8 of it is used
DECIMAL = {  # bytes/s, bf16, fp8 (TFLOP/s), GHz x cores
    "H800": (3.3e12, 989.5, 1979, 132 * 1.83),
    "H20": (4e12, 148, 296, 78 * 1.83),
    "A100": (2e12, 312, 624, 108 * 1.41),
    "L20": (864e9, 119.5, 239, 92 * 2.235),
}


@pytest.fixture(scope="module")
def found():
    return dsjax.corrected(STUDY)


def by_hand(row, done):
    """Step time of one row with the corrections `done`, in plain Python."""
    gpu, nic, wide = dict(oracle.GPUS[row["hardware"]]), oracle.NICS[row["nic"]], WEIGHT[row["precision"]]
    memory, bf16, fp8 = gpu["hbm_bytes_per_s"], gpu["bf16_flops_per_s"], gpu["fp8_flops_per_s"]
    vector = gpu["vector_ops_per_s"]
    if "units" in done:
        memory, bf16, fp8, vector = (x * s for x, s in zip(DECIMAL[row["hardware"]], (1, 1e12, 1e12, 16e9)))
        nic = {"CX7": 40e9, "E810": 10e9}[row["nic"]]
    least, extra = (0, 0) if "padding" in done else (64, 128)
    naive, ep = row["pipeline"] == "naive", row["ep"]
    sequences = row["batch"] if naive else row["batch"] / 2
    peak = fp8 if wide == 1 else bf16

    def gemm(m, k, n, out, heads=1, groups=1, share=None, rate=peak, elem=wide):
        share = oracle.a100_curve(m, k, n) if share is None else share
        d = heads * (m * k * elem + k * n * elem + m * n * out) / memory
        return groups * max(d, 2 * heads * max(least, m) * k * n / (rate * share))

    def moved(elements):
        return 2 * elements / memory

    def experts(m, count=1):
        up, down = oracle.deepgemm_shares(m)
        first = gemm(m, 7168, 4096, 4, share=up, rate=fp8, elem=1)
        return count * (first + gemm(m, 2048, 7168, 4, share=down, rate=fp8, elem=1))

    def sent(rows, element):
        n = 8 * rows * 7168 * element
        if "locality" not in done:
            return n / nic
        up, domain = NVLINK[row["hardware"]]
        return max((domain - 1) / ep * n / (0.8 * up), (1 - domain / ep) * n / nic)

    def attention(q):
        rate = peak * gpu["flash_mla_m128" if q == 1 else "flash_mla_m256"]
        m = 128 * q
        g0, g1 = (sequences * 2 * m * width * (5120 + extra) / rate for width in (576, 512))
        v = sequences * (3 * m * 5120 / vector + 0.5e-6)
        core = g0 + max(v, g1) if gpu["softmax_overlap"] else g0 + g1 + v
        return max(core, sequences * 5120 * 576 * KV[row["precision"]] / memory)

    def layer(q, sees_drafts):
        """before, after without router, router, shared, routed, dispatch, combine."""
        t = sequences * q
        k_q, rank = (7168, 1536) if "q_projection" in done else (1536, 128)
        before = gemm(t, k_q, rank, 4) + gemm(t, rank, 24576, 2) + gemm(t, 128, 512, 2, heads=128)
        before += gemm(t, 7168, 576, 2)
        after = attention(q) + gemm(t, 512, 128, 2, heads=128) + gemm(t, 16384, 7168, 2)
        router = 0
        if "whole_model" in done:
            before += moved(t * (4 * 7168 + 2 * (1536 + 512)))
            after += moved(t * 4 * 7168)
            router = gemm(t, 7168, 256, 2)
        x = t if sees_drafts else sequences
        slots = math.ceil(256 / ep)
        if "expert_rows" in done:
            hit = slots * (1 - (1 - 8 / (ep * slots)) ** (x * ep))
            routed = experts(8 * x / hit, hit)
        else:
            routed = experts(8 * x, slots)
        return before, after, router, experts(x), routed, sent(t, 1), sent(t, wide)

    def in_turn(before, after, router, shared, routed, dispatch, combine):
        return before + after + router + max(dispatch, shared) + routed + combine

    q = 1 + row["mtp"]
    main = layer(q, "draft_tokens" in done or not naive)
    before, after, router, shared, routed, dispatch, combine = main
    one = in_turn(*main)
    if not naive:
        one = max(dispatch, before + shared) + routed + max(combine, after + router)
    if "whole_model" not in done:
        return (1 if naive else 2) * 61 * one
    t = sequences * q
    rest = 3 * (before + after + gemm(t, 7168, 2 * 18432, 2) + gemm(t, 18432, 7168, 2))
    rest += moved(2 * t * 7168) + gemm(t, 7168, 129280, 2) + moved(4 * t * 7168)
    draft = in_turn(*layer(1, True)) + gemm(sequences, 14336, 7168, 2) + gemm(sequences, 7168, 129280, 2)
    rest += row["mtp"] * (draft + moved(8 * sequences * 7168))
    return (1 if naive else 2) * (rest + 58 * one)


def rows_of(ds):
    names = ("hardware", "nic", "ep", "batch", "precision", "mtp", "pipeline")
    return [dict(zip(names, row)) for row in zip(*(ds[name].values.tolist() for name in names))]


def test_every_variant_is_the_hand_calculation(found):
    published = found.step_time_published.values
    for i, row in enumerate(rows_of(found)):
        assert published[i] == pytest.approx(by_hand(row, ()), rel=1e-12)
        for j, name in enumerate(SLIPS):
            chain = found.step_time.values[i, j]
            assert chain == pytest.approx(by_hand(row, SLIPS[: j + 1]), rel=1e-10), (row, name)
            alone = published[i] * (1 + found.alone.values[i, j])
            assert alone == pytest.approx(by_hand(row, [name]), rel=1e-10), (row, name)


def test_as_published_is_what_was_printed(found):
    printed = decode_gpu_2025.STUDY.data["published"]["rows"]
    assert found.sizes == {"row": 66, "correction": len(SLIPS) + 2}
    for column, name in ((-2, "tps_per_user"), (-1, "tps_per_chip")):
        np.testing.assert_allclose(found[f"{name}_published"], [row[column] for row in printed], rtol=1e-8)
    assert found.table.values.tolist() == [row[0] for row in printed]


def test_the_chain_multiplies_to_the_whole(found):
    whole = np.log(found.step_time.isel(correction=-1) / found.step_time_published)
    np.testing.assert_allclose(np.log1p(found.in_order).sum("correction"), whole, atol=1e-12)
    np.testing.assert_allclose(-np.log(found.ratio.isel(correction=-1)), whole, atol=1e-12)
    np.testing.assert_allclose(found.in_order[:, 0], found.alone[:, 0], atol=1e-14)
    for name in ("tps_per_user", "tps_per_chip"):
        np.testing.assert_allclose(found[name] / found[f"{name}_published"], found.ratio, rtol=1e-12)
    for name in ("alone", "in_order"):
        np.testing.assert_allclose(found[f"median_{name}"], found[name].median("row", skipna=False), atol=1e-15)


@pytest.mark.parametrize("effect", ["alone", "in_order"])
def test_a_slip_that_cannot_matter_changes_nothing(found, effect):
    def of(name, where):
        return abs(found[effect].sel(correction=name).values[where.values])

    assert (of("draft_tokens", (found.mtp == 0) | (found.pipeline == "dual-mbatch")) < 1e-14).all()
    assert (of("expert_rows", found.ep == 320) < 1e-5).all()  # one slot: only whether a token hits it
    assert (of("draft_tokens", (found.mtp == 1) & (found.pipeline == "naive")) > 0).any()
    assert (of("expert_rows", found.ep == 72) > 0).all()


@pytest.mark.parametrize("effect", ["alone", "in_order"])
def test_directions(found, effect):
    signs = dict(zip(SLIPS, (1, -1, 1, 1, -1, -1, 1)))
    for name, sign in signs.items():
        assert (sign * found[effect].sel(correction=name) >= -1e-12).all(), name
    units = found[effect].sel(correction="units")
    assert (units > 0.07).all() and (units <= 2**40 / 1e12 - 1).all()  # the 0.5 us stay


def test_units_change_rates_and_the_capacity_of_l20_only():
    base = grid.load(STUDY)
    space = corrections._space(base, corrections.CORRECTIONS[-1:])
    shared = reader.load()["hardware"]
    for name, row in base.rows["hardware"].items():
        after = space.rows["hardware"][name]
        for field in (x for x in row if x.endswith("_per_s")):
            assert row[field] == 0 or row[field] / after[field] in (
                pytest.approx(2**40 / 1e12),
                pytest.approx(2**30 / 1e9),
            )
        assert after["hbm_bytes"] == shared[name]["hbm_advertised_bytes"]
        assert (after["hbm_bytes"] == row["hbm_bytes"]) == (name != "L20")
        same = [x for x in row if not x.endswith("_per_s") and x != "hbm_bytes"]
        assert [row[x] for x in same] == [after[x] for x in same]
    assert {name: row["scale_out_bytes_per_s"] for name, row in space.rows["nic"].items()} == {
        "CX7": 40e9,
        "E810": 10e9,
    }


def test_no_correction_is_the_study():
    base = grid.load(STUDY, fixed={"hardware": "H20", "nic": "CX7"})
    as_variant = corrections._space(base, [corrections.Correction("none", "", {})])
    one, two = (evaluation.evaluate(space, names=("step_time",)) for space in (base, as_variant))
    assert one["step_time"][0] == two["step_time"][0]
    np.testing.assert_allclose(one["step_time"][1], two["step_time"][1], rtol=1e-14)


@pytest.mark.parametrize(("curve", "name"), [("deepgemm-table", "other"), ("kernel-assumed", "curve")])
def test_beyond_is_the_core_model(found, curve, name):
    for i in (0, 24, 58):  # H800, H20, A100
        row = rows_of(found)[i]
        ds = dsjax.sweep(
            {"axes": {"batch": [row.pop("batch")]}, "fixed": {**row, "tp": 1, "context": 5120, "curve": curve}},
            settings={"hardware.A100.fp8_flops_per_s": 624e12} if row["hardware"] == "A100" else None,
        )
        assert ds.step_time.item() == pytest.approx(found.step_time.sel(correction=name).values[i], rel=1e-12)
        assert bool(ds.ok_memory) == bool(found.ok_memory[i])
        assert bool(found.borrowed_rate[i]) == (row["hardware"] == "A100")


def test_every_variable_says_what_it_is(found):
    for name, variable in found.variables.items():
        assert variable.attrs["long_name"] not in ("", name) or name in ("hardware", "nic", "precision", "pipeline"), (
            name
        )
        assert "units" in variable.attrs or variable.dtype.kind in "bOUT", name


def printed(found, capsys, *args):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(corrections, "corrected", lambda *given: found)
        cli.main(["reproduce", STUDY, "--corrected", *args], prog_name="dsjax")
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_what_is_printed(found, capsys):
    as_json = json.loads(printed(found, capsys, "--format", "json"))
    assert [x["correction"] for x in as_json["corrections"]] == found.correction.values.tolist()
    assert as_json["corrections"][-1]["median_alone"] is None
    as_csv = list(csv.DictReader(io.StringIO(printed(found, capsys, "--format", "csv"))))
    assert len(as_json["rows"]) == len(as_csv) == 66
    for i, name in ((0, "units"), (65, "curve")):
        expected = found.ratio.sel(correction=name).values[i]
        assert as_json["rows"][i][f"ratio:{name}"] == float(as_csv[i][f"ratio:{name}"]) == expected
    text = printed(found, capsys)
    assert "28.93" in text and "do not add up" in text and all(name in text for name in SLIPS)
    assert "do not add up" not in printed(found, capsys, "--quiet")


@pytest.mark.parametrize("study", ["sg2260e", "core", "nothing"])
def test_other_studies_are_refused(study, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["reproduce", study, "--corrected"], prog_name="dsjax")
    assert stop.value.code == 2 and STUDY in capsys.readouterr().err


def test_the_users_jax_is_left_alone(found):
    assert found.step_time.dtype == np.float64 and not jax.config.jax_enable_x64
