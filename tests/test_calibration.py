"""Calibration: parameters found again in times made from them, laws of the forms, public figures, bad input."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import test_cli

import dsjax
from dsjax import cli
from dsjax.calibration import attention_forms, calibrate, fitting, forms, kinds, measurements
from dsjax.catalog import reader
from dsjax.specs import records

command = test_cli.command
PUBLIC = Path(__file__).parent / "data" / "mla_decode_h800.csv"
TRUE = {"compute": 0.7, "tail": 3e5, "memory": 0.8, "start_s": 4e-6, "depth_s": 8e-10, "loss": 0.3}
PEAKS = {"flops_per_s": 1979e12, "hbm_bytes_per_s": 3350e9, "scale_up_bytes_per_s": 200e9}
PEAKS |= {
    "scale_out_bytes_per_s": 50e9,
    "weight_bytes": 1.0,
    "operand_bytes": 1.0,
    "result_bytes": 2.0,
    "kv_bytes": 2.0,
}


def gemm_s(m, n, k, flops_per_s=1979e12, bytes_per_s=3350e9):
    """The form, written again."""
    c = 2 * m * n * k / (flops_per_s * TRUE["compute"]) * (1 + TRUE["tail"] / ((m + 128) * n))
    d = ((m + n) * k + 2 * m * n) / (bytes_per_s * TRUE["memory"])
    roofs = c, d, k * TRUE["depth_s"]
    return TRUE["start_s"] + max(roofs) + TRUE["loss"] * (sum(roofs) - max(roofs))


def text_of(lines, header="m,n,k,latency_us,dtype"):
    return "\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n"


def made(noise=0.0, unit=1e6):
    random = np.random.default_rng(1)
    return [
        (m, n, k, repr(float(unit * gemm_s(m, n, k) * np.exp(noise * random.standard_normal()))), "fp8")
        for n, k in ((2048, 7168), (7168, 2048), (4096, 4096), (24576, 1536), (576, 7168))
        for m in (1, 16, 128, 512, 1024, 4096, 16384)
    ]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gemm.csv"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_parameters_that_made_the_times_are_found_again(file):
    ds = dsjax.calibrate(file(text_of(made())), "gemm", "H800")
    for name, value in TRUE.items():
        assert float(ds["value"].sel(parameter=name)) == pytest.approx(value, rel=1e-4), name
    assert float(ds["cv_p90_error"]) < 1e-4
    np.testing.assert_allclose(ds["predicted"], ds["measured"], rtol=1e-4)
    assert set(ds["value"].dims) == {"parameter"} and ds["measured"].attrs["units"] == "s"


def test_noise_shows_as_the_error_and_a_wild_point_does_not_bend_the_fit(file):
    lines = made(noise=0.05)
    ds = dsjax.calibrate(file(text_of(lines)), "gemm", "H800")
    assert 0.02 < float(ds["cv_median_error"]) < 0.06  # 0.674 x 5 % of a normal law
    assert abs(np.log(float(ds["value"][0]) / 0.7)) < 4.0 * float(ds["uncertainty"][0])
    m, n, k, us, dtype = lines[-1]
    lines[-1] = (m, n, k, 6.0 * float(us), dtype)
    bent = dsjax.calibrate(file(text_of(lines)), "gemm", "H800")
    assert float(bent["value"][0]) == pytest.approx(float(ds["value"][0]), rel=0.03)
    assert "1 of 35 points that the form cannot explain" in command(
        "calibrate", file(text_of(lines)), "--kind", "gemm", "--hardware", "H800"
    )


def test_units_conditions_names_and_merging(file):
    us = measurements.read(file(text_of(made())), "gemm")
    ms = measurements.read(file(text_of(made(unit=1e3), "m,n,k,latency_ms,dtype")), "gemm")
    np.testing.assert_allclose(us.seconds, ms.seconds, rtol=1e-12)
    bare = measurements.read(file(text_of(made(unit=1e9), "m,n,k,t,dtype")), "gemm", time="t=ns")
    np.testing.assert_allclose(us.seconds, bare.seconds, rtol=1e-12)
    some = measurements.read(file(text_of(made())), "gemm", where=["m>=16", "m<=512", "n = 2048"])
    assert some.shapes["m"].tolist() == [16.0, 128.0, 512.0] and some.lines == 3
    twice = "m,n,k,us\n1,2,3,4\n1,2,3,5\n5,2,3,\n"
    merged = measurements.read(file(twice), "gemm")
    assert (merged.merged, merged.incomplete) == (1, 1)
    assert merged.seconds.tolist() == pytest.approx([1e-6 * 20**0.5])
    pair = (
        "num_local_experts,tokens_per_expert,hidden_size,intermediate_size,up_proj_us,down_proj_us\n4,8,7168,2048,9,7\n"
    )
    grouped = measurements.read(file(pair), "grouped-gemm")
    assert {x: v.tolist() for x, v in grouped.shapes.items()} == {
        "num_groups": [4.0, 4.0],
        "m_per_group": [8.0, 8.0],
        "n": [4096.0, 7168.0],
        "k": [7168.0, 2048.0],
    }


@pytest.mark.parametrize("name", kinds.EXTENDED)
def test_times_scale_with_rates_and_start_times_and_never_beat_the_work(name):
    """All rates x a and all times / a: time / a. A share below 1 and a start of its own: more than the work."""
    kind = kinds.EXTENDED[name]
    shape = dict.fromkeys(kind.columns, 2048.0) | kind.optional | ({"node_num": 4.0} if "topk" in kind.optional else {})
    parameters = {p: x.guess for p, x in kind.parameters.items()}
    with jax.enable_x64(True):
        time = float(kind.form(parameters, shape, PEAKS))
        faster = {p: x / 8.0 if p.endswith("_s") else x for p, x in parameters.items()}
        peaks = {p: x * 8.0 if p.endswith("_per_s") else x for p, x in PEAKS.items()}
        assert float(kind.form(faster, shape, peaks)) == pytest.approx(time / 8.0, rel=1e-12)
        assert time > max(map(float, kind.work(shape, PEAKS)))
    assert len(kind.parameters) <= 9


def test_the_jacobian_is_that_of_finite_differences():
    kind = kinds.EXTENDED["gemm"]
    shapes = {"m": np.array([8.0, 4096.0]), "n": np.array([7168.0, 512.0]), "k": np.array([2048.0, 7168.0])}
    shapes |= kind.optional
    x = np.log([p.guess for p in kind.parameters.values()])
    exact = fitting.jacobian(kind.form, kind.parameters, x, shapes, PEAKS)
    for i in range(len(x)):
        step = 1e-5 * np.eye(len(x))[i]
        ends = [fitting.log_times(kind.form, kind.parameters, x + sign * step, shapes, PEAKS) for sign in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, exact[:, i], rtol=1e-6, atol=1e-9)


def test_public_times_of_mla_decode_on_h800_and_the_row_they_give(tmp_path):
    """Goal of the forms: 7 % median, 20 % at the 90th percentile, shapes left out."""
    row = tmp_path / "curve.toml"
    text = command("calibrate", PUBLIC, "--kind", "mla-decode", "--hardware", "H800", "-o", row)
    nexts = " ".join(text.split()).split("next: ")[1:]
    assert len(nexts) == 2 and all("--fix hardware=H800" in line and "--fix curve=" in line for line in nexts)
    assert f"--catalog {row} --fix curve=H800-mla-decode-bf16" in text and "22 points from 22 lines" in text
    ds = dsjax.calibrate(PUBLIC, "mla-decode", "H800")
    assert float(ds["cv_median_error"]) < 0.07 and float(ds["cv_p90_error"]) < 0.20
    curve = reader.load(records.RECORDS, *reader.users([row]))["curve"]
    fitted, base = curve["H800-mla-decode-bf16"], curve["hopper"]
    for name in ("compute", "rows", "memory", "start_s"):
        assert fitted[f"attention_{name}"] == pytest.approx(float(ds["value"].sel(parameter=name)), rel=1e-4)
    assert fitted["gemm_compute"] == base["gemm_compute"]
    assert "mla_decode_h800.csv" in fitted["source"] and "22 points" in fitted["source"]
    result = json.loads(command("calibrate", PUBLIC, "--kind", "mla-decode", "--hardware", "H800", "--format", "json"))
    assert len(result["points"]) == 22 and result["cv_median_error"] == pytest.approx(float(ds["cv_median_error"]))


def test_parameters_that_no_point_depends_on_are_said_so_and_not_written(file):
    """One domain: nothing is known of the network outside it."""
    lines = [(8, t, 7168, 20 + t * 8 * 7168 * 7 / 8 / (0.5 * 200e3)) for t in (1, 4, 16, 64, 128, 256, 1024)]
    path = file(text_of(lines, "ep_size,num_token,hidden_size,latency_us"))
    ds = dsjax.calibrate(path, "dispatch", "H800")
    assert np.isinf(ds["uncertainty"].sel(parameter=["outside", "outside_s"])).all()
    assert float(ds["value"].sel(parameter="inside")) == pytest.approx(0.5, rel=1e-4)
    assert "outside" not in ds.attrs["row"].partition("source")[2].partition("\n")[2]
    assert ds.attrs["row"].startswith('[hardware."H800-dispatch-fp8"]\nbase = "H800"') and "[nic" not in ds.attrs["row"]
    assert "not determined" in command("calibrate", path, "--kind", "dispatch", "--hardware", "H800")


def test_a_fitted_network_is_a_chip_and_a_nic_of_the_catalog(file, tmp_path):
    """Made with 0.5 and 0.8 of the bandwidths, 20 us and 10 us more between domains; the core model reads the rows."""
    lines = []
    for ep, nodes in ((8, 1), (32, 4)):
        for t in (1, 4, 16, 64, 128, 256, 1024):
            sent = t * 8 * 7168
            inside, outside = sent * (8 - 1) / ep / (0.5 * 200e3), sent * (1 - 8 / ep) / (0.8 * 50e3)
            lines.append((ep, nodes, t, 7168, 20 + 10 * (nodes > 1) + max(inside, outside)))
    path = file(text_of(lines, "ep_size,node_num,num_token,hidden_size,latency_us"))
    row = tmp_path / "network.toml"
    text = command("calibrate", path, "--kind", "dispatch", "--hardware", "H800", "-o", str(row))
    assert "--fix hardware=H800-dispatch-fp8 --fix nic=CX7-H800-dispatch-fp8" in text
    rows = reader.load(records.RECORDS, *reader.users([row]))
    chip, nic = rows["hardware"]["H800-dispatch-fp8"], rows["nic"]["CX7-H800-dispatch-fp8"]
    assert (chip["exchange_utilisation"], chip["exchange_start_s"]) == pytest.approx((0.5, 2e-5), rel=1e-3)
    assert (nic["exchange_utilisation"], nic["exchange_start_s"]) == pytest.approx((0.8, 1e-5), rel=1e-3)
    assert chip["combine_utilisation"] == rows["hardware"]["H800"]["combine_utilisation"]
    assert chip["hbm_bytes_per_s"] == rows["hardware"]["H800"]["hbm_bytes_per_s"]


def test_times_faster_than_the_chip_are_left_out_and_a_wrong_unit_is_refused(file):
    lines = made()
    m, n, k, us, dtype = lines[-1]
    lines[-1] = (m, n, k, 0.1 * float(us), dtype)
    ds = dsjax.calibrate(file(text_of(lines)), "gemm", "H800")
    assert ds["used"].values.tolist() == [1] * 34 + [0]
    assert float(ds["value"][0]) == pytest.approx(0.7, rel=1e-4)
    with pytest.raises(dsjax.InputError, match="beat the peak rates of the chip.*at peak.*expected times in the unit"):
        dsjax.calibrate(file(text_of(made(unit=1e3))), "gemm", "H800")
    slow = command("calibrate", file(text_of(made(unit=1e9))), "--kind", "gemm", "--hardware", "H800")
    assert "are the times in the unit that their column names?" in slow


GOOD = text_of(made())
BAD = [
    ("m,n,latency_us\n1,2,3\n", {}, "column k is missing; expected the columns m, n, k and a time"),
    ("m,n,k,latency\n1,2,3,4\n", {}, "expected one with its unit"),
    ("m,n,k,latency_us,time_us\n1,2,3,4,5\n", {}, "latency_us, time_us; expected one"),
    ("m,n,k,latency_us\n1,2,3\n", {}, "line 2: 3 values; expected 4"),
    ("m,n,k,latency_us\n1,two,3,4\n", {}, "line 2 n: 'two' is not a number"),
    ("m,n,k,latency_us\n1,2,-3,4\n", {}, "line 2 k: -3 is out of range"),
    ("m,n,k,latency_us\n1,2,3,nan\n", {}, "is not finite"),
    ("m,m,k,latency_us\n1,2,3,4\n", {}, "column 'm' is there twice"),
    ("m,n,k,latency_us\n", {}, "no measurements"),
    ("m,n,k,latency_us\n1,2,3,\n", {}, "no line has a time"),
    ("m,n,k,us\n1,2,3,4\n1,2,3,9\n", {}, "measured 2 times, from 4e-06 to 9e-06 s"),
    ("m,n,k,us,device\n1,2,3,4,A\n1,2,4,9,B\n", {}, "column device has A, B; expected one chip"),
    ("m,n,k,us\n" + "".join(f"{m},2048,7168,{m}\n" for m in range(50, 60)), {"precision": "fp8"}, "one shape only"),
    ("m,n,k,us\n1,2,3,4\n", {"precision": "fp8"}, "1 points of different shape"),
    ("m,n,k,us\n1,2,3,4\n", {}, "no column says the precision"),
    (GOOD, {"where": ["device=A"]}, "unknown column 'device'"),
    (GOOD, {"where": ["m=17"]}, "no line is left; m has"),
    (GOOD, {"where": ["m"]}, "expected COLUMN=VALUE"),
    (GOOD, {"time": "latency_us=h"}, "unknown unit 'h'"),
    (GOOD, {"time": "m=us"}, "column m is a size of gemm; expected a column of times"),
    (GOOD, {"time": "dtype=us"}, "line 2 dtype: 'fp8' is not a number"),
    (
        "ep,num_tokens,hidden,latency_us\n8,1,7168,9\n",
        {"kind": "dispatch", "time": "ep=us"},
        "column ep is a size of dispatch",
    ),
    (
        "batch,step,isl,latency_us\n8,1,7168,9\n",
        {"kind": "mla-decode", "time": "step=us"},
        "column step is a size of mla-decode",
    ),
    (GOOD, {"hardware": "H8000"}, "did you mean 'H800'"),
    (GOOD, {"kind": "gem"}, "did you mean 'gemm'"),
    (GOOD, {"precision": "fp7"}, "unknown precision 'fp7'"),
    (GOOD, {"form": "best"}, "unknown form 'best'"),
    (GOOD, {"peak": "9 GB"}, "has the unit 'GB'"),
    (GOOD, {"hardware": "A100"}, "A100 has no fp8 rate"),
]


@pytest.mark.parametrize(("text", "options", "message"), BAD, ids=[m[:30] for _, _, m in BAD])
def test_bad_input_names_the_file_and_what_was_expected(file, text, options, message):
    path = file(text)
    options = {"kind": "gemm", "hardware": "H800"} | options
    with pytest.raises(dsjax.InputError) as error:
        dsjax.calibrate(path, **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bad_input_on_the_command_line_is_one_line_and_writes_nothing(file, tmp_path, capsys):
    out = tmp_path / "row.toml"
    with pytest.raises(SystemExit) as stop:
        cli.main(["calibrate", str(tmp_path / "none.csv"), "--kind", "gemm", "--hardware", "H800", "-o", str(out)])
    assert stop.value.code == 2 and not out.exists()
    assert capsys.readouterr().err.endswith(
        "none.csv: cannot be read (No such file or directory); expected a CSV file\n"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--base", "FOO"), "error: calibrate: --base: unknown curve 'FOO'; expected one of "),
        (("--base", "hoper"), "unknown curve 'hoper' (did you mean 'hopper'?)"),
        (("--base", "H800"), "unknown curve 'H800'"),
        (("--base", ""), "unknown curve ''"),
        (("--name", ""), "error: calibrate: --name: ''; expected a text"),
        (("--name", " "), "calibrate: --name: ' '; expected a text"),
    ],
)
def test_names_of_a_row_are_looked_at_before_the_fit(file, tmp_path, monkeypatch, capsys, options, says):
    out = tmp_path / "row.toml"
    monkeypatch.setattr(fitting, "fit", None)
    for more in (("-o", str(out)), ()):
        with pytest.raises(SystemExit) as stop:
            cli.main(["calibrate", str(file(GOOD)), "--kind", "gemm", "--hardware", "H800", *options, *more])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and says in said and said.count("\n") == 1 and not out.exists()


def test_bases_of_rows(file, tmp_path):
    """In any case of letters, of a file of one's own, and of a network a chip."""
    assert calibrate.named("gemm", "kernel", "mine", "Hopper") == "hopper"
    assert calibrate.named("dispatch", "kernel", None, "H100") == "H100"
    with pytest.raises(dsjax.InputError, match="base: unknown hardware 'hopper'"):
        calibrate.named("dispatch", "kernel", None, "hopper")
    own = tmp_path / "own.toml"
    own.write_text('[curve.mine]\nbase = "hopper"\nsource = "a note"\ngemm_compute = 0.5\n')
    ds = dsjax.calibrate(file(GOOD), "gemm", "H800")
    with pytest.raises(dsjax.InputError, match="base: unknown curve 'mine'"):
        calibrate.write_row(ds, tmp_path / "row.toml", "fit", "mine")
    assert not (tmp_path / "row.toml").exists()
    calibrate.write_row(ds, tmp_path / "row.toml", "fit", "mine", catalogs=[own])
    assert "fit" in reader.load(records.RECORDS, *reader.users([own, tmp_path / "row.toml"]))["curve"]


def test_fused_experts_move_what_the_page_says():
    """Beside both products of R = T k / ep rows: 3 R I b' of the activation, R H b' of the sum, both at 70 % of the
    bandwidth, and the walk over the rows of other cards, `idle` (T k - R) (H + 3 I) b'."""
    shape = {"num_tokens": 300.0, "topk": 8.0, "ep_size": 4.0, "moe_tp_size": 2.0, "num_experts": 64.0}
    shape |= {"hidden_size": 1024.0, "inter_size": 1536.0}
    knots = {"compute": 0.8, "rows": 40.0, "fill": 200.0, "memory": 0.9, "start_s": 3e-6, "slot_s": 1e-7}
    knots |= {"depth_s": 2e-10, "loss": 0.3, "idle": 1.7}
    assert knots.keys() == kinds.KINDS["fused-experts"].parameters.keys()
    both = {"num_groups": 16.0, "slots": 16.0, "m_per_group": 37.5}
    products = [both | {"n": 1536.0, "k": 1024.0}, both | {"n": 1024.0, "k": 768.0}]
    alone = sum(forms.grouped_gemm(knots, product, PEAKS) for product in products)
    between = 3 * 600 * 768 * PEAKS["result_bytes"] / 0.7 / 3350e9
    assert forms.experts(knots, shape, PEAKS) == pytest.approx(alone + between, rel=1e-12)
    summed = 600 * 1024 / 0.7 + 1.7 * (2400 - 600) * (1024 + 3 * 768)
    expected = alone + between + summed * PEAKS["result_bytes"] / 3350e9
    assert forms.fused_experts(knots, shape, PEAKS) == pytest.approx(expected, rel=1e-12)


def all_reduces(column, width):
    """Times of a form with 2-byte elements, by messages of `width` bytes an element of the column."""
    true = {"inside": 0.8, "start_s": 5e-6, "step_s": 6e-7, "rise_s": 3e-5}
    peaks = PEAKS | {"scale_up_bytes_per_s": reader.load(records.RECORDS)["hardware"]["H800"]["scale_up_bytes_per_s"]}
    lines = []
    for n in (2, 4, 8):
        for size in 2.0 ** np.arange(8, 28, 3):
            seconds = forms.all_reduce(true, {"num_gpus": float(n), "bytes": size}, peaks)
            lines.append((n, size / width, repr(1e6 * float(seconds)), "bfloat16"))
    return true, text_of(lines, f"num_gpus,{column},latency_us,allreduce_dtype")


@pytest.mark.parametrize(("column", "width"), [("bytes", 1), ("message_size", 2)])
def test_message_sizes_are_elements_and_bytes_are_bytes(file, column, width):
    with jax.enable_x64(True):
        true, text = all_reduces(column, width)
    ds = dsjax.calibrate(file(text), "all-reduce", "H800")
    assert ds["bytes"].values.min() == 256.0 and ds["bytes"].attrs["units"] == "B"
    for name, value in true.items():
        assert float(ds["value"].sel(parameter=name)) == pytest.approx(value, rel=1e-3), name


def test_message_sizes_of_another_precision(file):
    _, text = all_reduces("message_size", 2)
    ds = dsjax.calibrate(file(text.replace("bfloat16", "int8")), "all-reduce", "H800")
    assert ds["bytes"].values.min() == 128.0 and ds.attrs["precision"] == "int8"
    both = "num_gpus,bytes,message_size,latency_us\n" + "".join(
        f"8,{2.0**i},{2.0**i / 4},{i}.5\n" for i in range(9, 20)
    )
    assert dsjax.calibrate(file(both), "all-reduce", "H800")["bytes"].values.min() == 512.0


def test_heads_that_share_a_key_read_it_once():
    shape = {"batch": 2.0, "isl": 1000.0} | kinds.KINDS["mla-prefill"].optional
    compute, alone = attention_forms.mla_prefill_work(shape, PEAKS)
    same, shared = attention_forms.mla_prefill_work(shape | {"heads_per_kv": 128.0}, PEAKS)
    assert compute == same and alone == pytest.approx(2 * 2 * 1000 * 128 * 320 * 2 / 3350e9)
    assert shared == pytest.approx(alone * (1 + 1 / 128) / 2)


@pytest.mark.parametrize("kind", ["mla-decode", "mla-prefill"])
def test_an_extended_row_of_attention_is_the_fit(file, kind, tmp_path):
    """Found again, and the row has nothing left of its base that the form does not have."""
    of = kinds.EXTENDED[kind]
    values = {"compute": 0.6, "memory": 0.5, "start_s": 1e-5, "split_s": 1.5e-5, "split_tokens": 2e3, "rows": 9e2}
    values |= {"short": 80.0, "fill": 2e4, "tile": 1.0}  # below 128 heads, so not determined
    true = {name: values[name] for name in of.parameters}
    rows = calibrate._rows("H800", "CX7", ())
    peaks = {name: float(x) for name, x in calibrate._peaks(kind, *rows, "H800", "bf16", None, {}).items()}
    size = list(of.columns)[1]
    lines = []
    with jax.enable_x64(True):
        for b in (1.0, 8.0, 64.0, 256.0):
            for s in 2.0 ** np.arange(6, 16, 2):
                shape = of.optional | {"batch": b, size: s, "queries": 1.0 + (s > 99.0)}
                lines.append((b, s, int(shape["queries"]), repr(1e6 * float(of.form(true, shape, peaks))), "bf16"))
    path = file(text_of(lines, f"batch,{size},queries,latency_us,dtype"))
    ds = dsjax.calibrate(path, kind, "H800", form="extended")
    for name, value in true.items():
        assert name == "tile" or float(ds["value"].sel(parameter=name)) == pytest.approx(value, rel=1e-2), name
    calibrate.write_row(ds, tmp_path / "row.toml", "mine", "blackwell")
    row = reader.load(records.RECORDS, *reader.users([str(tmp_path / "row.toml")]))["curve"]["mine"]
    shape = of.optional | {"batch": 3.0, size: 777.0, "queries": 4.0}
    expected = float(of.form({name: float(x) for name, x in zip(ds.parameter.values, ds.value.values)}, shape, peaks))
    prefix = "prefill_" if kind == "mla-prefill" else "attention_"
    again = {name: float(row[prefix + name]) for name in of.parameters}
    assert float(of.form(again, shape, peaks)) == pytest.approx(expected, rel=1e-3)


def test_a_kernel_row_of_attention_has_no_split_of_its_base():
    ds = dsjax.calibrate(PUBLIC, "mla-decode", "H800")
    assert "attention_split_s = 0\n" in calibrate.row_of(ds, "mine", "blackwell") + "\n"


def test_measured_times_and_sizes_have_a_range_without_its_ends():
    assert measurements._positive("x", "1.1e-12") == 1.1e-12 and measurements._positive("x", "9e17") == 9e17
    assert measurements._positive("x", "0", or_zero=True) == 0.0 and measurements._positive("x", "") is None
    for text in ("1e-12", "1e18", "0", "-1"):
        with pytest.raises(dsjax.InputError, match="x: .* is out of range"):
            measurements._positive("x", text)
