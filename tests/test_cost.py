"""Price and energy per token: the formula, unknown prices, gradients, old catalogs and files, tables."""

import contextlib
import io
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

import dsjax
from dsjax import cli, evaluation
from dsjax.catalog import reader, sources
from dsjax.formulas import metrics
from dsjax.results.handle import Results
from dsjax.space import grid, provenance
from dsjax.specs import fields
from dsjax.specs.records import Hardware
from dsjax.studies import decode_gpu_2025_chips
from grids import SEVEN_CHIPS

GRID = {"axes": {"hardware": ["H800", "H20"], "batch": [32, 64]}, "fixed": {"ep": 72, "nic": "CX7", "precision": "fp8"}}
GRID["fixed"] |= {"context": 4096, "expert_imbalance": 1.1}
GRID |= {"constraints": {"max_cost_per_million_tokens": 0.4}}
COSTS = ["cost_per_million_tokens", "energy_per_token"]
STUDY = {"axes": {"hardware": ["H800", "H20"], "batch": [64, 72]}, "study": "decode_gpu_2025"}
STUDY["fixed"] = {"ep": 72, "nic": "CX7", "precision": "kv2-w2"}


@pytest.fixture(scope="module")
def ds():
    return dsjax.sweep(GRID)


def test_formula(ds):
    """H800 at 2 USD/h and 700 W; H20 at 500 W, without a price."""
    tps = ds.tps_per_chip
    cost, energy = (ds[name].transpose(*tps.dims) for name in COSTS)
    np.testing.assert_allclose(cost.sel(hardware="H800"), 2 / (3600 * tps.sel(hardware="H800")) * 1e6, rtol=1e-14)
    assert bool(np.isnan(cost.sel(hardware="H20")).all())
    np.testing.assert_allclose(energy.sel(hardware="H800"), 700 / tps.sel(hardware="H800"), rtol=1e-14)
    np.testing.assert_allclose(energy.sel(hardware="H20"), 500 / tps.sel(hardware="H20"), rtol=1e-14)
    assert (cost.attrs["units"], energy.attrs["units"]) == ("USD", "J")
    assert ds.hardware_usd_per_hour.values.tolist() == [2.0, 0.0]


def test_a_limit_on_the_price_lets_the_unknown_pass(ds):
    ok, cost = ds.ok_cost_per_million_tokens, ds.cost_per_million_tokens
    assert bool(ok.sel(hardware="H20").all())
    np.testing.assert_array_equal(ok.sel(hardware="H800"), cost.sel(hardware="H800") <= 0.4)
    assert set(ok.sel(hardware="H800").values.ravel().tolist()) == {True, False}


def test_ranked_by_price_the_unknown_take_no_part(ds):
    found = dsjax.best(ds, by=["hardware"], objective="-cost_per_million_tokens", top=5)
    assert set(found.hardware.values.tolist()) == {"H800"}
    assert (np.diff(found.cost_per_million_tokens) >= 0).all()
    front = dsjax.pareto(ds, x="tpot", y="cost_per_million_tokens")
    assert set(front.hardware.values.tolist()) == {"H800"} and (np.diff(front.cost_per_million_tokens) < 0).all()


def test_without_any_price_there_is_no_such_variable(ds):
    del ds
    bare = dsjax.sweep(GRID, settings={"hardware.usd_per_hour": 0, "hardware.watts": 0})
    assert not set(COSTS) & set(bare.data_vars) and bool(bare.ok_cost_per_million_tokens.all())
    with pytest.raises(dsjax.InputError, match="objective: unknown variable"):
        dsjax.best(bare, objective="-cost_per_million_tokens")


def prices(hardware, tps):
    values = metrics.per_token(hardware, tps)
    return values["cost_per_million_tokens"], values["energy_per_token"]


@pytest.mark.parametrize("price, watts", [(2.0, 700.0), (0.0, 0.0)])
def test_slopes_are_finite_and_those_of_the_formula(price, watts):
    row = reader.numbers(reader.load()["hardware"]["H800"])
    with jax.enable_x64(True):
        known = Hardware(**{name: np.float64(x) for name, x in (row | {"usd_per_hour": price, "watts": watts}).items()})
        pairs = jax.jacrev(prices, argnums=(0, 1))(known, np.float64(1500.0))  # of cost, of energy
        by_hardware, by_tps = zip(*pairs)
        for slopes in by_hardware:
            assert all(np.isfinite(x) for x in jax.tree.leaves(slopes))
        expected = (-price / (3600 * 1500.0**2) * 1e6, -watts / 1500.0**2)
        np.testing.assert_allclose([float(x) for x in by_tps], expected, rtol=1e-12)
        if price:
            np.testing.assert_allclose(by_hardware[0].usd_per_hour, 1e6 / (3600 * 1500.0), rtol=1e-12)


def test_studies_are_unchanged_and_can_be_priced():
    plain = dsjax.sweep(STUDY)
    assert not set(COSTS) & set(plain.data_vars)
    priced = dsjax.sweep(STUDY, settings={"hardware.H20.usd_per_hour": 1.2, "hardware.watts": "0.4 kW"})
    for name in plain.data_vars:
        np.testing.assert_array_equal(plain[name], priced[name])
    h20 = priced.sel(hardware="H20")
    np.testing.assert_allclose(h20.cost_per_million_tokens, 1.2 / (3600 * h20.tps_per_chip) * 1e6, rtol=1e-14)
    np.testing.assert_allclose(h20.energy_per_token, 400 / h20.tps_per_chip, rtol=1e-14)


def test_price_as_an_axis():
    ds = dsjax.sweep(STUDY, axes={"hardware_usd_per_hour": [0, 1, 2]})
    cost = ds.cost_per_million_tokens
    assert bool(np.isnan(cost.sel(hardware_usd_per_hour=0)).all())
    np.testing.assert_allclose(cost.sel(hardware_usd_per_hour=2), 2 * cost.sel(hardware_usd_per_hour=1))


def test_rows_written_before_still_load(tmp_path):
    """A full row without the optional fields, and one that takes the rest from H800: no price, no power."""
    own = tmp_path / "chips.toml"
    required = [name for name, meta in fields.fields_of(Hardware).items() if not {"default", "like"} & meta.keys()]
    full = "\n".join(
        f"{name} = {1 if name in ('scale_up_utilisation', 'roofline_overlap') else 1e12}" for name in required
    )
    own.write_text(
        f'[hardware.Old]\nsource = "mine"\n{full}\n[hardware.Wider]\nbase = "H800"\nsource = "mine"\nhbm_bytes = 1e11\n'
        '[hardware.Priced]\nbase = "Old"\nsource = "mine"\nusd_per_hour = "3.5 USD/h"\n'
    )
    space = grid.load(GRID, axes={"hardware": ["Old", "Wider", "Priced", "H800"]}, catalogs=[own])
    rows = {name: (row["usd_per_hour"], row["watts"]) for name, row in space.rows["hardware"].items()}
    assert rows == {"Old": (0.0, 0.0), "Wider": (0.0, 0.0), "Priced": (3.5, 0.0), "H800": (2.0, 700.0)}
    assert "cost_per_million_tokens" in space.defined
    for key, value, words in (
        ("usd_per_hour", -1, "of at least 0"),
        ("watts", '"3 GB"', "unit"),
        ("usd", 1, "usd_per"),
    ):
        own.write_text(f'[hardware.Mine]\nbase = "H800"\nsource = "mine"\n{key} = {value}\n')
        with pytest.raises(dsjax.InputError, match=words):
            grid.load(GRID, axes={"hardware": ["Mine"]}, catalogs=[own])


def test_files_written_before_can_still_be_asked(ds):
    """The resolved numbers in an older file have no price and no power."""
    old = ds.copy()
    spec = json.loads(ds.attrs["dsjax_spec"])
    for row in spec["rows"]["hardware"].values():
        del row["usd_per_hour"], row["watts"]
    spec["defined"] = [name for name in spec["defined"] if name not in COSTS]
    old.attrs["dsjax_spec"] = json.dumps(spec)
    again = evaluation.evaluate(Results.of(old).space)
    assert not set(COSTS) & again.keys()
    np.testing.assert_array_equal(again["tps_per_chip"][1], ds.tps_per_chip.values)


def test_base_rows_keep_their_numbers():
    """H800 is the base of the other rows: what is published of it alone stays with it."""
    rows = reader.load()["hardware"]
    assert rows["L20"]["usd_per_hour"] == rows["H20"]["usd_per_hour"] == rows["SG2260E"]["watts"] == 0
    for name in rows:
        row = rows[name]
        for field in ("usd_per_hour", "watts"):
            entry = sources.of_field(row, field)
            assert (entry["kind"] == "unknown") == (row[field] == 0) and "row" not in entry, name
    assert {
        f for f, meta in fields.fields_of(decode_gpu_2025_chips.Hardware).items() if not meta.get("lent", True)
    } == {
        "usd_per_hour",
        "watts",
    }


def command(*args):
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
        patch.setenv("XDG_CACHE_HOME", os.devnull)
        cli.main([str(arg) for arg in args], prog_name="dsjax")
    assert stop.value.code == 0
    return out.getvalue()


def test_table_has_the_column_only_where_there_is_a_price():
    small = ["decode_gpu_2025", "--fix", "nic=CX7", "--fix", "ep=72", "--axis", "hardware=H800,H20", "--by", "hardware"]
    assert "USD" not in command("best", *small)
    table = command("best", *small, "--set", "hardware.H800.usd_per_hour=2")
    header, h800, h20 = (next(x for x in table.splitlines() if w in x) for w in ("tok/s/chip", "H800", "H20"))
    assert "USD/Mtok" in header and h20.split()[-2] == "-"
    row = json.loads(command("best", *small, "--set", "hardware.H800.usd_per_hour=2", "--format", "json"))["rows"][0]
    assert row["hardware"] == "H800" and h800.split()[-2] == f"{row['cost_per_million_tokens']:.3f}"
    assert row["cost_per_million_tokens"] == pytest.approx(2 / (3600 * row["tps_per_chip"]) * 1e6)


# ---- prices of one source, and others


def test_prices_are_alike_where_their_source_is():
    rows = reader.load()["hardware"]
    texts = [sources.price(rows[name]) for name in ("H100", "H200", "B200", "GB300", "MI355X", "TPU-v7")]
    assert len(set(texts)) == 1 and "July 2026" in texts[0]
    assert sources.price(rows["H800"]) not in (texts[0], None) and sources.price(rows["H20"]) is None
    assert (
        sources.most(texts + ["x"]) == texts[0] and sources.most([None, "a", "b"]) == "a" and not sources.most([None])
    )
    mine = sources.with_number(rows["H20"], "usd_per_hour", 1.0, "--set hardware.H20.usd_per_hour=1")
    other = sources.with_number(rows["L20"], "usd_per_hour", 2.0, "--set hardware.L20.usd_per_hour=2")
    assert sources.price(mine) == sources.price(other) == "set by the user"


def marks(*settings, chips="H100,H200,H800,H20", name="best", verbose=False):
    small = ["--axis", f"hardware={chips}", "--fix", "nic=CX7", "--fix", "ep=72", "--axis", "batch=16,24,64"]
    text = command(
        name,
        SEVEN_CHIPS,
        *small,
        "--by",
        "hardware",
        *(x for each in settings for x in ("--set", each)),
        *["-v"] * verbose,
    )
    rows = {line.split()[1]: line for line in text.splitlines() if line.strip()[:1].isdigit() and " CX7" not in line}
    return text, {chip: line.rstrip().endswith("*") or "*  " in line for chip, line in rows.items()}


def test_costs_by_a_price_of_another_source_are_marked():
    text, marked = marks()
    assert marked["H800"] and not marked["H100"] and not marked["H200"]
    line = next(line for line in text.splitlines() if line.startswith("  prices: "))
    assert "July 2026; * another source: H800" in line and "H100" not in line and "no price: H20\n" in text
    text, _ = marks("hardware.H20.watts=400", verbose=True)
    assert "another source, not to be compared with them: H800 (lease" in text
    assert "no price, so no cost and no rank by it: H20\n" in text
    text, marked = marks(chips="H100,H200")
    assert not any(marked.values()) and "*" not in text.split("prices: ")[1].split("\n")[0] and "no price" not in text
    text, marked = marks("hardware.usd_per_hour=2")  # all of the user: alike
    assert not any(marked.values()) and "prices: set by the user\n" in text
    text, marked = marks("hardware.H20.usd_per_hour=1")
    assert marked["H20"] and marked["H800"] and "* another source: H800, H20\n" in text
    assert "prices:" not in marks("hardware.usd_per_hour=0")[0]


def test_every_table_of_costs_says_where_prices_are_from(tmp_path):
    assert "* another source: H800\n" in marks(name="pareto")[0]
    text = Path(SEVEN_CHIPS).read_text().replace('maximize = "tps_per_chip"', 'minimize = "cost_per_million_tokens"')
    (tmp_path / "cost.toml").write_text(text)
    small = ["--axis", "ep=72", "--axis", "batch=64", "--by", "hardware"]
    compared = command("compare", tmp_path / "cost.toml", *small, "--set-b", "hardware.B200.usd_per_hour=5", "-v")
    assert compared.count("H800 (lease") == 2 and "B200 (set by the user)" in compared  # of A, of B
    space = grid.load(GRID, axes={"hardware_usd_per_hour": [1, 2]})
    assert provenance.prices(space) == {} and provenance.of_prices({}) == []  # the user's own prices
    space = grid.load("disaggregated", fixed={"prefill_hardware": "H800", "decode_hardware": "H20"})
    assert set(provenance.prices(space)) == {"H800", "H20"}
