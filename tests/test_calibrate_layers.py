"""Calibration of layers beside attention; public tables' names; lines of a precision; tables of another kernel."""

from pathlib import Path

import numpy as np
import pytest
import test_cli

import dsjax
from dsjax.calibration import kinds, measurements
from dsjax.catalog import reader
from dsjax.specs import records

command = test_cli.command
CHIP = reader.load()["hardware"]["H200"]
PEAKS = {"flops_per_s": CHIP["bf16_flops_per_s"], "hbm_bytes_per_s": CHIP["hbm_bytes_per_s"]}
PEAKS |= {"weight_bytes": 2.0, "operand_bytes": 2.0, "result_bytes": 2.0, "kv_bytes": 2.0}
SIZES = {
    "batch": (1, 8, 64, 256),
    "isl": (64, 1024, 16384),
    "k_heads": (4, 16),
    "v_heads": (8, 32),
    "k_dim": (128,),
    "v_dim": (128,),
    "channels": (1024, 12288),
    "num_tokens": (16, 512, 8192),
    "hidden_size": (4096, 7168),
    "heads": (8, 128),
    "positions": (130, 640, 4000),
    "new_tokens": (64, 2048),
}
TRUE = {"compute": 0.3, "rows": 40.0, "memory": 0.8, "start_s": 6e-6, "depth_s": 4e-8, "loss": 0.2, "fill": 2000.0}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "measured.csv"

    def write(header, lines):
        path.write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n", encoding="utf-8")
        return path

    return write


def made(kind):
    """(header, lines) of a kind with the parameters `TRUE`."""
    of = kinds.KINDS[kind]
    shapes = [{}]
    for name in of.columns:
        shapes = [shape | {name: x} for shape in shapes for x in SIZES[name]]
    parameters = {name: TRUE[name] for name in of.parameters}
    seconds = [of.form(parameters, {k: float(x) for k, x in s.items()} | of.optional, PEAKS) for s in shapes]
    lines = [(*shape.values(), repr(1e6 * float(x))) for shape, x in zip(shapes, seconds, strict=True)]
    return ",".join([*of.columns, "latency_us"]), lines


@pytest.mark.parametrize("kind", ["recurrent", "scan", "state-scan", "convolution", "mixing-post", "compressed-decode"])
def test_parameters_that_made_the_times_are_found_again(file, kind, tmp_path):
    ds = dsjax.calibrate(file(*made(kind)), kind, "H200", precision="bf16")
    for name in ds["parameter"].values.tolist():
        assert float(ds["value"].sel(parameter=name)) == pytest.approx(TRUE[name], rel=1e-3), name
    row = tmp_path / "row.toml"
    row.write_text(ds.attrs["row"], encoding="utf-8")
    curve = reader.load(records.RECORDS, *reader.users([row]))["curve"][f"H200-{kind}-bf16"]
    kernel = kinds.KINDS[kind].parameters["start_s"].field
    assert curve[kernel] == pytest.approx(TRUE["start_s"], rel=1e-3) and curve["fitted"] == ["H200"]


def test_names_of_public_tables(file):
    header = "framework,phase,batch_size,seq_len,num_k_heads,head_k_dim,num_v_heads,head_v_dim,latency"
    lines = [("SGLang", "generation", batch, 1, 4, 128, 8, 64, 0.01 * batch) for batch in (1, 2, 4)]
    found = measurements.read(file(header, lines), "recurrent", time="latency=ms")
    assert found.shapes["queries"].tolist() == [1.0] * 3 and found.shapes["v_dim"].tolist() == [64.0] * 3
    prompts = measurements.read(file(header, lines), "scan", time="latency=ms")
    assert prompts.shapes["isl"].tolist() == [1.0] * 3 and prompts.shapes["k_heads"].tolist() == [4.0] * 3
    cached = "batch_size,isl,step,num_heads,num_key_value_heads,head_dim,latency_us"
    found = measurements.read(file(cached, [(4, 1, 1023, 32, 8, 128, 50), (4, 1, "", 32, 8, 128, 50)]), "gqa-decode")
    assert found.shapes["kv_len"].tolist() == [1024.0] and found.incomplete == 1
    mixed = "num_tokens,num_sites,hc_mult,hidden_size,latency_us"
    found = measurements.read(file(mixed, [(16, 2, 4, 4096, 20)]), "mixing-pre")
    assert (found.shapes["sites"], found.shapes["streams"]) == (2.0, 4.0)


GEMMS = [
    (m, n, 4096, dtype, us + m)
    for n in (2048, 4096)
    for m in (1, 1024, 4096, 8192, 16384)
    for dtype, us in (("bfloat16", 300), ("fp8_block", 200), ("fp8", 100))
]


def test_precision_picks_its_lines_and_says_so(file):
    path = file("m,n,k,gemm_dtype,latency_us", GEMMS)
    assert measurements.read(path, "gemm", precision="bf16").lines == 10
    # The file's own word for it, else all of its words.
    assert measurements.read(path, "gemm", precision="fp8").seconds[0] == pytest.approx(101e-6)
    assert measurements.read(path, "gemm", precision="fp8_block").seconds[0] == pytest.approx(201e-6)
    ds = dsjax.calibrate(path, "gemm", "H200", precision="fp8_block")
    assert ds.attrs["precision"] == "fp8" and "gemm_dtype fp8_block: 10 of 30 lines" in ds.attrs["row"]
    told = command("calibrate", path, "--kind", "gemm", "--hardware", "H200", "--precision", "fp8")
    assert "gemm_dtype fp8: 10 of 30 lines, the others are of another precision" in told
    with pytest.raises(dsjax.errors.InputError, match="gemm_dtype has bfloat16, fp8, fp8_block; expected nvfp4"):
        dsjax.calibrate(path, "gemm", "H200", precision="nvfp4")
    with pytest.raises(dsjax.errors.InputError, match="gemm_dtype"):
        dsjax.calibrate(path, "gemm", "H200")
    own = file("m,n,k,gemm_dtype,latency_us", [(*x[:3], "own word", x[4]) for x in GEMMS[::3]])
    assert dsjax.calibrate(own, "gemm", "H200", precision="bf16").attrs["precision"] == "bf16"


@pytest.mark.parametrize(
    ("header", "kind", "error"),
    [
        ("batch,kv_len,num_kv_heads,latency_us", "mla-decode", "num_kv_heads is of grouped queries"),
        ("batch_size,seq_len,num_v_heads,head_k_dim,latency", "gqa-prefill", "num_v_heads is of layers with a state"),
        ("batch,v_heads,k_dim,v_dim,kv_len,latency_us", "recurrent", "kv_len is of attention to a cache"),
        ("num_tokens,hidden_size,d_state,latency_us", "mixing-pre", "d_state is of layers with a state"),
        ("m,n,k,num_experts,latency_us", "gemm", "num_experts is of experts"),
        ("batch,isl,step,heads,kv_heads,head_dim,latency_us", "gqa-prefill", "step has 9; expected whole prompts"),
        ("m,n,k,latency", "gemm", "time='latency=ms', the unit"),
    ],
)
def test_a_table_of_another_kernel_is_refused_by_name(file, header, kind, error):
    with pytest.raises(dsjax.errors.InputError, match=error):
        measurements.read(file(header, [["9"] * len(header.split(","))]), kind)


def test_public_samples_are_read(file):
    """A sample of benchmarks/kernels as it is: FlashInfer's scan on H200, as the catalog has it for its family."""
    path = Path(__file__).parents[1] / "benchmarks" / "kernels" / "scan.csv"
    where = ["device=H200", "engine=vllm", "layer=gdn"]
    ds = dsjax.calibrate(path, "scan", "H200", precision="bf16", where=where)
    row = reader.load()["curve"]["hopper-vllm"]
    assert float(ds["cv_median_error"]) < 0.08
    assert float(ds["value"].sel(parameter="compute")) == pytest.approx(row["scan_compute"], rel=0.1)
    assert np.all(ds["used"].values == 1)
