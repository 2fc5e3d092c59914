"""Validation of servers: systems whose time holds the prompts of other users, and how their rows are read."""

import json
import math

import pytest

import dsjax
from dsjax.catalog import reader
from dsjax.validation import predict, systems

HOST_S = {name: row["step_s"] for name, row in reader.load()["engine"].items()}


@pytest.fixture(scope="module")
def rows():
    return {row.used["id"]: row for row in systems.read().systems}


@pytest.fixture(scope="module")
def own(rows):
    """{system: `Prediction`} of two studies, evaluated together."""
    some = {x: row for x, row in rows.items() if row.used["study"].startswith(("InferenceX-H200", "InferenceX-B200"))}
    return dict(zip(some, predict.predictions(some.values()), strict=True))


def seconds(found):
    """Time without a factor [s]."""
    return found.fixed_s + found.scaled_s


def of_server(row, **fixed):
    """Variables of the server of a system, a sweep of its own."""
    grid = row.grid("serve")
    grid["fixed"] |= fixed
    return dsjax.sweep(grid).sel(software_factor=1.0)


def written(path, **changes):
    """The one system of a file: 16 users of two groups of four chips."""
    row = dict(zip(("id", "date", "source", "model", "hardware"), ("A", "2026", "a bench", "DeepSeek-R1", "H200")))
    row |= {"precision": "fp8", "engine": "vllm", "metric": "tpot", "chips": 8, "tp": 4, "ep": 8, "mtp": 0}
    own = {"id": "a", "concurrency": 16, "value": "20 ms", "isl": 2048, "osl": 512} | changes
    lines = [f"{key} = {json.dumps(x)}" for key, x in row.items() if key not in own or key == "id"]
    cells = ", ".join(f"{key} = {json.dumps(x)}" for key, x in own.items())
    path.write_text("[[study]]\n" + "\n".join(lines) + f"\nsystem = [{{ {cells} }}]\n")
    return systems.read(path).systems


def test_time_of_a_token_with_the_prompts_of_others(own, rows):
    """64 users of 8 chips, 10 requests each: a sweep's; about a step of decode, and 63 prompts in 0.9 osl steps."""
    name = "R1-H200-S12-TP8-8k-1k-C64"
    fixed = rows[name].grid("serve")["fixed"]
    assert (fixed["isl"], fixed["osl"], fixed["length_law"]) == (8192, 1024, "uniform")
    assert (fixed["batching"], fixed["requests_per_user"]) == ("prefill-first", 10)
    found = seconds(own[name])
    server = of_server(rows[name])
    assert found == pytest.approx(server["tpot_mean"].item(), rel=1e-6)
    assert own[name].prompts == pytest.approx(server["prefill_share"].item(), rel=1e-6)
    grid = rows[name].grid("decode")
    for key in ("isl", "osl", "concurrency"):
        del grid["fixed"][key]
    grid["fixed"] |= {"context": 0.9 * 8192 + 0.45 * 1024, "batch": 8}
    decode = dsjax.sweep(grid).sel(software_factor=1.0)["tpot"].item()
    prompt = dsjax.sweep(rows[name].grid("prefill")).sel(software_factor=1.0)["step_time"].item() - HOST_S["sglang"]
    assert found == pytest.approx(decode + 63 / (0.9 * 1024) * prompt, rel=0.05)


def test_a_user_alone_meets_no_prompt_but_his_own(own, rows):
    name = "R1-B200-S12-TP8-8k-1k-C1"
    assert rows[name].phases == ("decode",) and own[name].prompts == 0.0
    first = rows[f"{name}-first"]
    alone = dsjax.sweep(first.grid("prefill")).sel(software_factor=1.0)
    assert first.phase == "prefill" and alone["prompts"].item() == 1
    assert seconds(own[f"{name}-first"]) == pytest.approx(alone["ttft"].item(), rel=1e-12)


def test_the_first_token_of_many_users_waits_for_others(own, rows):
    name = "R1-H200-S12-TP8-8k-1k-C64-first"
    row = rows[name]
    assert row.kind == "first token" and row.used["value"] == 2.2456 and row.phases == ("prefill", "decode")
    server = of_server(row)
    found = seconds(own[name])
    assert found == pytest.approx(server["ttft_mean"].item(), rel=1e-6)
    steady = of_server(row, requests_per_user=0)["ttft_mean"].item()
    alone = of_server(row, requests_per_user=0, concurrency=1)["ttft_mean"].item()
    assert alone < steady < found  # others, and those who all start at once
    assert own[name].prompts == pytest.approx(1.0 - alone / found, rel=1e-3)


def test_a_run_that_gives_its_first_token_is_two_systems(tmp_path):
    token, first = written(tmp_path / "a.toml", ttft="300 ms", tps_per_chip=80)
    assert token.used["metric"] == "tpot" and token.used["tps_per_chip"] == 80.0
    assert (first.used["id"], first.used["metric"], first.used["value"]) == ("a-first", "ttft", 0.3)
    assert first.grid("serve")["fixed"] == token.grid("serve")["fixed"]
    assert token.fits and not first.fits


def test_a_server_is_what_its_row_says(tmp_path):
    """Users, lengths, batching by engine, budgets of a group, memory."""

    def fixed(**changes):
        return written(tmp_path / "a.toml", **changes)[0].grid("serve")["fixed"]

    whole = fixed()
    assert whole["batching"] == "chunked" and (whole["isl_cv"], whole["osl_cv"]) == (0.0, 0.0)
    assert "chunk_tokens" not in whole and whole["memory_reserve"] == 0.1
    assert fixed(engine="sglang")["batching"] == fixed(batching="prefill-first")["batching"] == "prefill-first"
    some = fixed(length_factor=0.8)  # even between 60 and 100 %
    assert some["isl"] == 0.8 * 2048 and some["isl_cv"] == pytest.approx(0.4 / math.sqrt(12.0) / 0.8)
    assert fixed(prefill_tokens=512)["chunk_tokens"] == 4 * 512
    assert fixed(engine="sglang", prefill_tokens=512)["max_prefill_tokens"] == 4 * 512
    mine = {"chunk_tokens": 1024, "max_batch": 3, "requests_per_user": 7, "memory_reserve": 0.05}
    assert fixed(**mine).items() >= mine.items()


def test_systems_of_one_layout_are_samples_of_one_server(tmp_path, own, rows):
    """Sixteen users beside 64 and others, and alone: two groups of four chips of a user's, and one of dsjax's."""
    name = "R1-H200-S12-TP8-1k-1k-C16"
    alone = predict.predictions([rows[name]])[0]
    assert seconds(alone) == pytest.approx(seconds(own[name]), rel=1e-9)
    assert alone.uncertainty == pytest.approx(own[name].uncertainty, rel=1e-3)
    row = written(tmp_path / "a.toml")[0]
    found = predict.predictions([row])[0]
    assert seconds(found) == pytest.approx(of_server(row)["tpot_mean"].item(), rel=1e-6)
    assert found.batch == 16 and found.refused == () and set(found.blocks) > {"routed", "dispatch"}


@pytest.mark.parametrize("name", ["R1-H200-S12-TP8-1k-1k-C64", "R1-H200-S12-TP8-1k-1k-C64-first"])
def test_host_times_of_a_server(rows, name):
    """What host time adds: a token has a step and some of prompts, a first token its prompt and those before."""
    row, alone = rows[name], {"engine.sglang.prompt_layer_s": 0.0}  # else the launches of a short prompt hide a step
    before = predict.predictions([row], settings=alone)[0]
    for number, of in (("step_s", "steps"), ("request_s", "requests")):
        more = alone | {f"engine.sglang.{number}": HOST_S["sglang"] * (number == "step_s") + 1e-4}
        after = predict.predictions([row], settings=more)[0]
        rise = (seconds(after) - seconds(before)) / 1e-4
        assert getattr(before, of) == pytest.approx(rise, rel=0.02)
    assert before.drafts == pytest.approx(0.0, abs=1e-6) and before.steps >= 1.0
    assert (before.requests > 1.0) == name.endswith("first")
