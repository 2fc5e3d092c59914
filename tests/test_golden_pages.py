"""Reports and tables of notebooks, part for part, as they are kept in data/goldens/pages.json."""

import dataclasses
import functools

import goldens
import pytest
from golden_grids import swept

import dsjax
from dsjax.accessor import page as notebook
from dsjax.accessor import words
from dsjax.pages import parts, vega
from dsjax.pages import text as texts
from dsjax.reporting import report
from dsjax.results.handle import Results

NIC = "nic.CX7.scale_out_bytes_per_s"
# answer -> what it is to; those of `plan` and of fleets are asked in test_golden_fleets.py
ANSWERS = {
    "sweep": lambda: swept("core"),
    "best": lambda: dsjax.best(swept("core"), by=["hardware", "tp"], top=2),
    "pareto": lambda: dsjax.pareto(swept("core"), by=["hardware"]),
    "histogram": lambda: dsjax.histogram(swept("core"), bins=5),
    "explain": lambda: dsjax.explain(swept("core"), {"hardware": "L20"}),
    "sensitivity": lambda: dsjax.sensitivity(swept("core"), wrt=["hardware", "nic", "workload"]),
    "sensitivity over a grid": lambda: dsjax.sensitivity(swept("core"), at="grid", wrt=["nic", "hardware"]),
    "envelope": lambda: dsjax.sensitivity(swept("core"), wrt=["hardware"], envelope=True),
    "solve": lambda: dsjax.solve(swept("core"), NIC, "tps_per_chip >= 1800"),
    "uncertainty": lambda: dsjax.uncertainty(swept("core"), {"nic": "10%", "hardware": "5%"}, samples=32),
    "compare": lambda: dsjax.compare(swept("core"), dsjax.sweep(swept_b(), settings={NIC: 1e11})),
    "count": lambda: dsjax.count("Qwen3-30B-A3B"),
    "best server": lambda: dsjax.best(swept("users"), by=["hardware", "tp"]),
    "explain server": lambda: dsjax.explain(swept("users"), {"hardware": "H200", "tp": 8, "concurrency": 64}),
    "explain rates": lambda: dsjax.explain(swept("rates"), {"batching": "chunked", "requests_per_s": 1.0}),
    "explain pools": lambda: dsjax.explain(swept("pools"), {"requests_per_s": 4.0}),
    "explain prompts": lambda: dsjax.explain(swept("prefill")),
    "explain what is refused": lambda: dsjax.explain(swept("nothing")),
}
FEW = 40  # points of a chart whose numbers are kept
PAGES = ("core", "chips", "users", "pools", "prefill", "nothing")


def swept_b():
    from golden_grids import CORE

    return CORE | {"axes": CORE["axes"] | {"hardware": ["H800", "B200"]}}


@functools.cache
def answer(name):
    return ANSWERS[name]()


def told(name):
    """An answer, its words, and its table in a notebook."""
    ds = answer(name)
    rows = notebook.html(ds).partition("<details>")[0].splitlines()
    return {"answer": ds, "words": words.words(ds).splitlines(), "page": rows}


def page(name):
    """A report without its charts, which pictures.json has, and with the first rows of its tables."""
    made = report.page(Results.of(swept(name)), "dsjax report")
    for i, section in enumerate(made.sections):
        made.sections[i] = parts.Section(section.title, [*map(_short, section.parts)], section.anchor)
    return made


def _short(part):
    if isinstance(part, parts.Chart):
        sizes = [[spec["height"], *map(len, spec["datasets"].values())] for spec in part.specs]
        small = [
            of for spec in part.specs for of in spec["datasets"].values() if all(len(x) <= FEW for x in of.values())
        ]
        return [part.title, part.says, part.note, part.fixed, sizes, small]
    if isinstance(part, parts.Table):
        rows = [[[x for x in cell if x not in ("", None)] for cell in row] for row in part.rows[:12]]
        return dataclasses.replace(part, rows=[*rows, len(part.rows)])
    return part


def encodings():
    """What charts are made of: layers, axes, colours, columns that are packed."""
    return {
        "number": vega.number("x", "X [s]"),
        "log": vega.number("x", "X", log=True, si=True, stack=False),
        "zero": vega.number("x", "X", zero=True, scale={"domain": [0, 1]}),
        "names": vega.names("x", "X", "abc"),
        "colour": vega.colour("x", ["a", "b"], title="of"),
        "layer": vega.layer("d", {"type": "line"}, x={"field": "x"}, y=None),
        "hover": vega.layer("d", {"type": "line"}, [("x", "X")], x={"field": "x"}),
        "packed": vega.packed({"few": [1, 2, 1, 2, 1], "half": [1, 2, 1, 2], "many": [1, 2, 3]}),
        "spec": vega.spec({"d": {"x": [1]}, "no": {"x": []}}, [vega.layer("d", {}), vega.layer("no", {})], 200, a=1),
        "written": vega.written({"a": ["b\x1b", 1.5, ("\u202e", None)]}),
        "cells": parts.cells(["a", ("1", 1.0), parts.Cell("c", 2.0, "m", "t"), 3]),
        "plain": [texts.plain(x) for x in ("a\u00e9", "\x00", "\u2028", "\ue000", "\U000e0001", "\u0300")],
    }


CASES = {name: functools.partial(told, name) for name in ANSWERS}
CASES |= {f"report: {name}": functools.partial(page, name) for name in PAGES} | {"encodings": encodings}


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_the_one_that_is_kept(name):
    goldens.check("pages", name, CASES[name]())
