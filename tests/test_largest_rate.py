"""A rate above what every server of a grid takes: refused with the largest rate that fits, and what limits it."""

import json

import pytest
from console import command
from test_validity import FIXED, LAYOUT

import dsjax
from dsjax.analysis.explain_server import largest
from dsjax.space import grid

AXES = {"tp": [4, 8], "max_batch": [64, 1024]}


def written(tmp_path, rate, axes, phase="serve", **sections):
    fixed = FIXED | {"osl": 512} if phase == "serve" else {"isl": 2048, "osl": 512, "transfer_nic": "CX7"}
    fixed = {name: value for name, value in fixed.items() if name not in axes}
    sections = {"axes": axes, "fixed": fixed | {"requests_per_s": rate}} | sections
    lines = ['model = "DeepSeek-R1"', f'phase = "{phase}"']
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    path = tmp_path / "grid.toml"
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.mark.parametrize("batching", ["prefill-first", "chunked"])
def test_the_largest_rate_of_a_grid(tmp_path, batching):
    path = written(tmp_path, 1000.0, AXES | {"batching": [batching]})
    found = json.loads(command("best", path, "--format", "json", code=1))["largest_rate"]
    ds = dsjax.sweep(path)
    assert found["requests_per_s"] == pytest.approx(float(ds["requests_per_s_max"].max()))
    assert float(ds["requests_per_s_max"].sel(found["point"])) == pytest.approx(found["requests_per_s"])
    below, above = (
        dsjax.sweep(path, fixed={"requests_per_s": share * found["requests_per_s"]})["ok_stable"]
        for share in (0.8, 1.01)
    )
    assert below.any() and not above.any()
    for of in ("sweep", "best", "pareto"):
        text = command(of, path, code=1)
        assert "the largest rate that fits: " in text and f"limited most by {found['limited_by']}" in text
    assert "the largest rate" not in command("best", path, "--fix", "requests_per_s=0.5")


def test_what_holds_the_sequences(tmp_path):
    path = written(tmp_path, 1000.0, {"max_batch": [16]})
    found = json.loads(command("best", path, "--format", "json", code=1))["largest_rate"]
    assert (found["held_by"], found["inside"], found["limited_by"]) == ("max_batch", 16.0, "steps of decode")
    assert "16 inside as max_batch admits no more; limited most by steps of decode" in command("best", path, code=1)


def test_no_server_has_room(tmp_path):
    path = written(tmp_path, 1000.0, {"hardware": ["L20"]})
    assert "largest_rate" not in json.loads(command("best", path, "--format", "json", code=1))


def test_no_more_servers_are_looked_at_than_can_be(tmp_path, monkeypatch):
    space = grid.load(written(tmp_path, 1000.0, AXES))
    for most, told in ((4, True), (3, False)):
        monkeypatch.setattr(largest, "MOST", most)
        assert bool(largest.largest_rate(space)) == told


@pytest.mark.parametrize(("osl", "pool"), [(16, "prefill"), (4096, "decode")])
def test_the_largest_rate_of_pools(tmp_path, osl, pool):
    path = written(tmp_path, 1000.0, {"osl": [osl]}, "disaggregated", prefill=LAYOUT, decode=LAYOUT)
    found = json.loads(command("best", path, "--format", "json", code=1))["largest_rate"]
    assert found["limited_by"] == pool
    text = command("explain", path, "--at", f"osl={osl}")
    does = {"prefill": "computes prompts", "decode": "decodes"}[pool]
    assert f"that the pool that {does} can take" in text


def test_sequences_that_do_not_fit_are_not_called_too_many_requests(tmp_path):
    path = written(tmp_path, 6.2, {"batching": ["prefill-first"]})
    text = command("explain", path, "--at", "batching=prefill-first")
    assert "sequences would decode at a time, which do not fit: 6.2 requests/s, near the " in text
    assert "are more than" not in text
