"""Two spaces side by side: against sweeps and searches of each, and laws of the ratios."""

import json

import numpy as np
import pytest
import test_cli
import xarray as xr
from test_inverse import GRID, NIC, best

import dsjax

command = test_cli.command
FAST = {NIC: 2e11}


@pytest.fixture(scope="module")
def pair():
    return dsjax.sweep(GRID), dsjax.sweep(GRID, settings=FAST | {"hardware.H800.hbm_bytes": 40e9})


def test_the_same_space_changes_nothing(pair):
    same = dsjax.compare(pair[0], pair[0])
    assert (same["ratio"] == 1.0).all() and (same["kept_ratio"] == 1.0).all()
    assert set(same["changed"].values) == {""} and set(same["newly_binding"].values) == {""}
    assert same["feasible"].sum("group").values.tolist() == [int(pair[0].feasible.sum())] * 2


@pytest.mark.parametrize("by", [["hardware"], ["hardware", "ep"], ["weight_bytes"], ["hardware", "batch"], []])
def test_optima_are_those_of_best(pair, by):
    found = dsjax.compare(*pair, by=by)
    for side, ds in zip("ab", pair):
        ranked = dsjax.best(ds, by=by)
        optima = {
            tuple(ranked[name].values[i] for name in by): float(ranked.tps_per_chip[i])
            for i in range(ranked.sizes["rank"])
        }
        keys = [tuple(found[f"group_{name}"].values[i] for name in by) for i in range(found.sizes["group"])]
        values = found["objective"].sel(side=side).values
        assert {k: v for k, v in zip(keys, values) if not np.isnan(v)} == optima
        assert found["feasible"].sel(side=side).sum() == int(ds.feasible.sum())


def test_the_kept_configuration_is_the_point_of_b(pair):
    found = dsjax.compare(*pair, by=["hardware"])
    a, b = pair
    for i, name in enumerate(found["group_hardware"].values):
        best_of_a = dsjax.best(a, by=["hardware"])
        best_of_a = best_of_a.isel(rank=list(best_of_a["hardware"].values).index(name))
        row = found.isel(group=i)
        at = {axis: best_of_a[axis].item() for axis in GRID["axes"]}
        assert [str(value) for value in at.values()] == [row[axis].values[0] for axis in at]
        there = b.sel(at)
        assert float(row["kept_objective"]) == float(there.tps_per_chip)
        assert bool(row["kept_feasible"]) == bool(there.feasible)
        refused = [mask for mask in b.data_vars if mask.startswith("ok_") and not bool(there[mask])]
        assert row["kept_refused"].item() == ", ".join(refused)
        if row["kept_feasible"]:
            assert float(row["ratio"]) >= float(row["kept_ratio"])  # choosing anew never loses
    assert "ok_memory" in found["kept_refused"].values.tolist()


def test_parts_of_the_time_make_the_rate(pair):
    found = dsjax.compare(*pair, by=["hardware", "ep"])
    parts = sum(found[f"chip_time_{part}"] for part in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(parts, 1.0 / found["objective"], rtol=1e-12)
    exposed = sum(found[f"exposed_{part}"] for part in ("compute", "memory", "network", "latency"))
    np.testing.assert_allclose(exposed, found["step_time"], rtol=1e-12)


def test_a_constraint_binds_where_dropping_it_helps(pair):
    found = dsjax.compare(pair[0], pair[0], by=["hardware"])
    free = dict(GRID, constraints={})
    seen = set()
    for i, name in enumerate(found["group_hardware"].values):
        better = best(free, fixed={"hardware": str(name)}) > float(found["objective"][0, i]) * (1 + 1e-9)
        binds = "ok_tps_per_user" in found["binding"].values[0, i].split(", ")
        assert binds == better
        seen.add(binds)
    assert True in seen


def test_a_group_of_one_side_only():
    found = dsjax.compare(GRID, dict(GRID, constraints={"min_tps_per_user": 35}), by=["hardware"])
    values = dict(zip(found["group_hardware"].values, found["objective"].values.T.tolist()))
    assert not np.isnan(values["H20"][0]) and np.isnan(values["H20"][1])
    assert found.sel(group=found["group_hardware"].values == "H20")["feasible"].values.ravel().tolist()[1] == 0


def test_what_is_fixed_differently_is_the_question():
    found = dsjax.compare(dsjax.sweep(GRID), dsjax.sweep(GRID, fixed={"context": 10240}), by=[])
    assert "context" in found["changed"].item().split(", ")
    assert found["kept_ratio"].item() < 1.0 and found["kept_missing"].item() == ""
    other = dsjax.compare(dsjax.sweep(GRID), dsjax.sweep(GRID, axes={"batch": [8, 24]}), by=[])
    assert np.isnan(other["kept_ratio"].item()) and "no batch = 128" in other["kept_missing"].item()


def test_an_axis_that_is_not_given_follows_another():
    """Without `shared_tp` the shared expert is split as tp; without `chips`, they are moe_tp ep."""
    fixed = {"hardware": "H800", "nic": "CX7", "precision": "fp8", "context": 5120, "mtp": 0, "pipeline": "naive"}
    axes = {"tp": [4], "batch": [32, 64], "ep": [144]}
    one = {"axes": axes, "fixed": fixed, "objective": {"minimize": "memory_per_chip"}}  # fewest bytes: split
    plain = dsjax.sweep(one, blocks=False)
    split = dsjax.sweep(one, axes={"shared_tp": [1, 2, 4]}, blocks=False)
    found = dsjax.compare(plain, split)
    assert found["kept_missing"].item() == "" and found["kept_ratio"].item() == 1.0
    assert found["shared_tp"].values.ravel().tolist() == ["4", "4"]
    replicated = dsjax.sweep(one, axes={"shared_tp": [1, 2, 3]}, blocks=False)
    assert dsjax.compare(plain, replicated)["kept_missing"].item() == "no shared_tp = 4"
    back = dsjax.compare(replicated, plain)
    assert back["kept_missing"].item() == "shared_tp is tp = 4, not 2" and "shared_tp" in back["changed"].item()
    chips = dsjax.sweep(one | {"axes": {"tp": [4], "batch": [32, 64], "chips": [144]}}, blocks=False)
    for pair in ((plain, chips), (chips, plain)):
        assert dsjax.compare(*pair)["kept_ratio"].item() == 1.0
    loads = {"tp": [4], "prompts": [4], "ep": [144]}
    prefill = dsjax.sweep(one | {"axes": loads, "fixed": fixed | {"phase": "prefill"}}, blocks=False)
    with pytest.raises(dsjax.InputError, match="phases decode and prefill; expected the same phase"):
        dsjax.compare(plain, prefill)


def test_bad_input(tmp_path, pair):
    foreign = tmp_path / "foreign.nc"
    xr.Dataset({"x": 1.0}).to_netcdf(foreign)
    minimized = dict(GRID, objective={"minimize": "tpot"})
    cases = [
        ((pair[0], str(foreign)), {}, "dsjax_spec: missing"),
        ((pair[0], xr.Dataset()), {}, "dsjax_spec: missing"),
        ((pair[0], minimized), {}, "objectives maximize tps_per_chip and minimize tpot"),
        ((pair[0], pair[1]), {"by": ["hardwear"]}, "did you mean 'hardware'"),
        ((pair[0], pair[1]), {"by": 5}, "by: 5; expected a text, or a list of texts"),
        ((pair[0], pair[1]), {"fixed": {}}, "expected a grid, not results"),
        ((pair[0],), {}, "b: missing"),
        ((pair[0], "nonesuch"), {}, "unknown grid"),
    ]
    for arguments, options, words in cases:
        with pytest.raises(dsjax.InputError, match=words.replace("(", r"\(")):
            dsjax.compare(*arguments, **options)


def test_groups_may_be_a_text(pair):
    assert dsjax.compare(*pair, by="hardware").identical(dsjax.compare(*pair, by=["hardware"]))
    for text, names in (("hardware", ["hardware"]), ("hardware,nic", ["hardware", "nic"]), ("", [])):
        assert dsjax.best(pair[0], by=text).identical(dsjax.best(pair[0], by=names))
    assert dsjax.pareto(pair[0], by="hardware").identical(dsjax.pareto(pair[0], by=["hardware"]))


def test_command_line(tmp_path, pair):
    paths = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for ds, path in zip(pair, paths):
        dsjax.write_netcdf(ds, path)
    printed = json.loads(command("compare", *paths, "--by", "hardware", "--format", "json"))
    found = dsjax.compare(*pair, by=["hardware"])
    assert [row["ratio"] for row in printed["rows"]] == found["ratio"].values.tolist()
    text = command("compare", *paths, "--by", "hardware")
    assert "refused by ok_memory" in text and "B / A: " in text
    study = ("compare", "decode_gpu_2025", "--fix", "mtp=1", "--set-b", f"{NIC}=2e11", "--by", "")
    assert "best tps_per_chip of all: 3,702.83 -> " in command(*study)
    with_csv = command(*study, "--format", "csv").splitlines()
    assert len(with_csv) == 2 and "objective_b" in with_csv[0]
    assert (
        "groups"
        not in command("compare", "decode_gpu_2025", "--fix-b", "context=9e6", "--by", "")
        .split("next:")[0]
        .splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("decode_gpu_2025",), "A and B are the same"),
        (("x.nc", "--set-b", f"{NIC}=1"), "cannot be changed; expected a grid in its place"),
        (("decode_gpu_2025", "--set-b", "nic.CX8.scale_out_bytes_per_s=1"), "did you mean 'CX7'"),
    ],
)
def test_bad_command_lines(arguments, words, capsys):
    from dsjax import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *arguments], prog_name="dsjax")
    assert stop.value.code == 2 and words in capsys.readouterr().err


def test_answers_have_units_and_can_be_written(tmp_path, pair):
    answers = {
        "solve": dsjax.solve(GRID, NIC, "tps_per_chip >= 3900"),
        "compare": dsjax.compare(*pair, by=["hardware"]),
        "uncertainty": dsjax.uncertainty(GRID, {"nic": 0.1}),
    }
    for name, ds in answers.items():
        for variable in [*ds.data_vars.values(), *(ds[name] for name in {*ds.dims} & {*ds.coords})]:
            assert variable.attrs["long_name"] and (variable.dtype.kind != "f" or "units" in variable.attrs), variable
        path = tmp_path / f"{name}.nc"
        ds.to_netcdf(path)
        with xr.open_dataset(path) as again:
            assert set(again.data_vars) == set(ds.data_vars)
