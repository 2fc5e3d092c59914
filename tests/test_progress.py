"""Progress: loops tell how far they have come, and a terminal shows it with the time left."""

import re
import sys
import time

import pytest

import dsjax
from dsjax import advance
from dsjax.commands.progress import progress

STUDY = "decode_gpu_2025"


def shares(body):
    """Every share that a body tells, in order."""
    seen = []

    class Counter(advance.Counter):
        def at(self, share):
            super().at(share)
            seen.append(self.done)

    with advance.told(Counter()):
        body()
    return seen


def test_loops_inside_loops_tell_shares_of_the_whole():
    def body():
        for _ in advance.of("ab"):
            for _ in advance.of(range(4)):
                pass

    assert shares(body) == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0])
    assert list(advance.of(iter("abc"), 3)) == ["a", "b", "c"]  # nobody listens


def test_parts_follow_each_other_and_a_loop_that_ends_early_does_not_go_back():
    def body():
        with advance.part(0.0, 0.5):
            for i in advance.of(range(4)):
                if i == 1:
                    break
        with advance.part(0.5, 1.0):
            pass

    assert shares(body) == pytest.approx([0.125, 0.5, 1.0])


@pytest.mark.parametrize("search", ["best", "pareto", "histogram"])
def test_streamed_searches_tell_how_far_they_are(search, monkeypatch):
    monkeypatch.setattr("dsjax.search.cells.SLAB", 2**14)  # a small grid is several slabs
    axes = {"context": {"start": 1024, "stop": 65536, "step": 1024}, "batch": {"start": 1, "stop": 256, "step": 1}}
    fixed = {"pipeline": "naive", "mtp": 1, "tp": 1, "nic": "CX7", "precision": "fp8", "ep": 72}
    seen = shares(lambda: getattr(dsjax, search)(axes=axes, fixed=fixed, stream=True, dtype="float32"))
    assert seen == sorted(seen) and len(set(seen)) > 4 and seen[-1] == pytest.approx(1.0)


def test_servers_and_samples_tell_how_far_they_are():
    servers = {"axes": {"hardware": ["H200"], "concurrency": [8, 16]}}
    assert shares(lambda: dsjax.best("serve", stream=True, axes=servers["axes"]))[-1] == pytest.approx(1.0)
    seen = shares(lambda: dsjax.uncertainty(STUDY, {"nic": 0.1}, samples=8, top=3))
    assert len(set(seen)) > 2


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_on_a_terminal_only(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with progress("evaluating [red]10 points", False, 10) as done:
        done(5)
        time.sleep(1.6)
    err = capsys.readouterr().err
    assert bool(err) == terminal == ("evaluating [red]10 points" in err and "50%" in err)
    assert not terminal or re.search(r"1 s, [12] s left", err)


def test_nothing_is_shown_where_it_is_not_wanted_nor_within_a_second(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("evaluating", True, 10):
        time.sleep(1.2)
    with progress("evaluating", False, 10):
        pass
    assert capsys.readouterr().err == ""


def test_what_was_done_before_takes_no_time():
    counters = []
    told = advance.told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advance, "told", lambda counter: counters.append(counter) or told(counter))
        with progress("evaluating", True, 1000) as done:
            done(600, found=True)
            done(100)
    assert counters[0].done == pytest.approx(0.25)
