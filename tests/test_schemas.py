"""Schemas against the readers: what is shipped passes both, what is broken on purpose passes neither."""

import copy
import json
import re
import tomllib

import jsonschema
import pytest

from dsjax import schemas, studies, units
from dsjax.catalog import reader
from dsjax.cli import main
from dsjax.errors import InputError
from dsjax.formulas import efficiency
from dsjax.schemas import catalog
from dsjax.space import grid
from dsjax.specs import fields, records
from dsjax.validation import keys, systems

VALIDATORS = {kind: jsonschema.Draft202012Validator(json.loads(schemas.text(kind))) for kind in schemas.SCHEMAS}
SHARED = {"hardware.toml": "hardware", "nics.toml": "nic", "precisions.toml": "precision", "curves.toml": "curve"}
SHARED |= {"engines.toml": "engine"}


def faults(kind, data):
    return [f"{list(error.absolute_path)}: {error.message[:200]}" for error in VALIDATORS[kind].iter_errors(data)]


@pytest.mark.parametrize("kind", schemas.SCHEMAS)
def test_a_schema_is_one_of_2020_12(kind):
    VALIDATORS[kind].check_schema(VALIDATORS[kind].schema)
    assert VALIDATORS[kind].schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(grid.folder().glob("*.toml")), ids=lambda path: path.stem)
def test_every_grid_passes(path):
    assert faults("grid", reader.read_toml(path)) == []


@pytest.mark.parametrize("file", SHARED)
def test_every_catalog_passes(file):
    assert faults("catalog", {SHARED[file]: reader.read_toml(reader.DATA / file)}) == []


@pytest.mark.parametrize("name", studies.names())
def test_every_row_of_a_study_passes_the_schema_of_its_records(name):
    study = studies.get(name)
    assert list(jsonschema.Draft202012Validator(catalog.schema(study.records)).iter_errors(study.tables)) == []


@pytest.mark.parametrize("path", systems.FILES, ids=lambda path: path.stem)
def test_every_file_of_systems_passes(path):
    assert faults("systems", reader.read_toml(path)) == []


def test_every_field_is_described_with_its_unit():
    rows = VALIDATORS["catalog"].schema["$defs"]
    for kind, cls in records.RECORDS.items():
        for name, meta in fields.fields_of(cls).items():
            text = rows[kind]["properties"][name]["description"]
            assert text.startswith(meta["doc"]) and (meta["units"] == "1" or f"[{meta['units']}]" in text)
    assert all(part.get("description") for of in rows.values() for part in of.get("properties", {}).values())
    of_systems = VALIDATORS["systems"].schema["$defs"]["keys"]
    assert of_systems.keys() == {*keys.KEYS} and all(part["description"] for part in of_systems.values())
    of_grids = VALIDATORS["grid"].schema["$defs"]["core"]
    assert [name for name, part in of_grids.items() if not part.get("description")] == []


@pytest.mark.parametrize("kind", schemas.SCHEMAS)
def test_editors_find_the_keys(kind):
    """taplo completes what `properties`, `items`, `anyOf` and `$ref` reach; beside an `allOf` it completes nothing."""
    text = json.dumps(VALIDATORS[kind].schema)
    assert '"allOf"' not in text
    parts = VALIDATORS["grid"].schema["properties"]
    assert {"hardware", "tp", "pipeline"} <= parts["axes"]["properties"].keys() & parts["decode"]["properties"].keys()
    assert (
        parts["fixed"]["properties"]["pipeline"]["anyOf"][0]["enum"]
        and "max_ttft" in parts["constraints"]["properties"]
    )


def test_knots_of_one_name_mean_one_thing_in_every_form():
    knots = {}
    for form in efficiency.FORMS.values():
        for name, meta in fields.fields_of(form.record).items():
            assert knots.setdefault(name, meta["doc"]) == meta["doc"]


@pytest.mark.parametrize("unit", ["B/s", "B", "FLOP/s", "s", "token", "1", "W", "USD/h", "1/s"])
def test_a_pattern_means_what_the_reader_takes(unit):
    for text in [
        "3",
        "3.3 TiB/s",
        "80GB",
        "1233/1979",
        "0.5 us",
        "4e3",
        "70 %",
        "3 token",
        "2 USD/h",
        "5 1/s",
        "9 TFLOP/s",
    ]:
        try:
            units.number("here", text, units.domain(unit))
            taken = True
        except InputError:
            taken = False
        assert bool(re.search(units.pattern(unit), text)) == taken, (unit, text)
    for text in ["", "fast", "3 parsecs", "3 3", "GB", "3 GB GB"]:
        assert not re.search(units.pattern(unit), text)


# Broken on purpose: (where, the value there or None to take it away)
CHIP = {"base": "H800", "source": "a note", "watts": 500}
BARE = {name: 1 for name, meta in fields.fields_of(records.Nic).items() if not {"default", "like"} & meta.keys()}
CATALOG = {
    "hardware": {"Mine": CHIP},
    "nic": {"Mine": BARE | {"source": "a note"}},
    "precision": {"Mine": {"base": "fp8", "weight_rate": "fp8"}},
    "curve": {"Mine": {"form": "by-hardware", "source": "a note"}},
}
BROKEN_ROWS = [
    (("hardware", "Mine", "colour"), "blue"),
    (("hardware", "Mine", "watts"), "many"),
    (("hardware", "Mine", "watts"), "3 GB"),
    (("hardware", "Mine", "watts"), -3),
    (("hardware", "Mine", "watts"), True),
    (("hardware", "Mine", "watts"), [3]),
    (("hardware", "Mine", "scale_up_utilisation"), 1.5),
    (("hardware", "Mine", "hbm_bytes"), 0),
    (("hardware", "Mine", "curve"), 3),
    (("hardware", "Mine", "source"), ""),
    (("hardware", "Mine", "kind"), "heard"),
    (("hardware", "Mine", "sources"), {"watts": {"kind": "heard"}}),
    (("hardware", "Mine", "sources"), {"watts": {}}),
    (("hardware", "Mine", "unverified"), ["wats"]),
    (("hardware", "Mine", "base"), 3),
    (("nic", "Mine", "source"), None),
    *(((("nic", "Mine", name), None)) for name in BARE),
    (("precision", "Mine", "weight_rate"), "fp3"),
    (("precision", "Mine", "weight_rate"), 9),
    (("curve", "Mine", "form"), "straight"),
    (("curve", "Mine", "form"), None),
    (("curve", "Mine", "gemm_compute"), 0.5),
    (("curve", "Mine", "fitted"), "H100"),
    (("gpus",), {}),
    (("hardware",), 3),
    (("hardware", "Mine"), 3),
]
GRID = {
    "title": "mine",
    "model": "DeepSeek-V3",
    "axes": {"hardware": ["H800", "my own"], "batch": {"start": 8, "stop": 64, "step": 8}, "nic": ["CX7"], "tp": [8]},
    "fixed": {"chips": 32, "context": 4096, "precision": "fp8", "expert_imbalance": 0},
    "constraints": {"min_tps_per_user": "20 token/s", "max_hardware_watts": 1000, "slo_margin": 0.1},
    "objective": {"maximize": "tps_per_chip", "by": ["hardware"]},
}
BROKEN_GRIDS = [
    (("colour",), 1),
    (("title",), 3),
    (("study",), "decode_tpu"),
    (("phase",), "decoding"),
    (("axes",), 3),
    (("axes", "hardware"), "H800"),
    (("axes", "hardware"), []),
    (("axes", "hardware"), [3]),
    (("axes", "colour"), [3]),
    (("axes", "batch"), [8, 8]),
    (("axes", "batch"), [8.5]),
    (("axes", "batch"), [0]),
    (("axes", "batch"), {"start": 8, "stop": 16}),
    (("axes", "batch"), {"start": 8, "stop": 16, "step": 8, "last": 3}),
    (("axes", "pipeline"), ["triple"]),
    (("axes", "mtp"), [9]),
    (("fixed", "contxt"), 3),
    (("fixed", "context"), "long"),
    (("fixed", "context"), [3]),
    (("fixed", "acceptance"), 1.5),
    (("fixed", "expert_imbalance"), 0.5),
    (("constraints", "min_tps"), 3),
    (("constraints", "min_tps_per_user"), "3 ms"),
    (("constraints", "slo_margin"), -1),
    (("objective", "maximise"), "tpot"),
    (("objective", "maximize"), "tpt"),
    (("objective", "minimize"), "tpot"),
    (("objective", "by"), 3),
    (("prefill",), 3),
]
SYSTEM = {"id": "A1", "metric": "decode", "value": "2000 token/s", "chips": 8, "batch": 64}
STUDY = {"id": "A", "date": "2026", "source": "a log", "model": "DeepSeek-V3", "hardware": "H800", "precision": "fp8"}
SYSTEMS = {"study": [STUDY | {"system": [SYSTEM, SYSTEM | {"id": "A2", "ttft": "80 ms"}]}], "defaults": {"tp": 2}}
BROKEN_SYSTEMS = [
    (("stdy",), []),
    (("study",), None),
    (("study", 0, "id"), None),
    (("study", 0, "system"), []),
    (("study", 0, "source"), None),
    (("study", 0, "system", 1, "metric"), None),
    (("study", 0, "system", 1, "metric"), "speed"),
    (("study", 0, "system", 1, "value"), "fast"),
    (("study", 0, "system", 1, "value"), 0),
    (("study", 0, "system", 1, "chips"), 1.5),
    (("study", 0, "system", 1, "complete"), "no"),
    (("study", 0, "system", 1, "balance"), "good"),
    (("study", 0, "system", 1, "length_factor"), 1.1),
    (("study", 0, "system", 1, "precision"), 8),
    (("study", 0, "system", 1, "colour"), 8),
    (("defaults", "tp"), 0),
    (("defaults", "colour"), 1),
]


def broken(data, path, value):
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


def read_catalog(data):
    for rows in reader.load(records.RECORDS, (data, "my.toml")).values():
        [rows[name] for name in rows if name == "Mine"]


def named(cases):
    return [pytest.param(path, value, id=f"{'.'.join(map(str, path))}={value}"[:70]) for path, value in cases]


def test_what_is_broken_below_is_whole():
    assert faults("catalog", CATALOG) == faults("grid", GRID) == faults("systems", SYSTEMS) == []
    read_catalog(CATALOG)
    grid.load(broken(GRID, ("axes", "hardware"), ["H800"]))


@pytest.mark.parametrize(("path", "value"), named(BROKEN_ROWS))
def test_broken_rows_pass_neither(path, value):
    data = broken(CATALOG, path, value)
    assert faults("catalog", data)
    with pytest.raises(InputError):
        read_catalog(data)


@pytest.mark.parametrize(("path", "value"), named(BROKEN_GRIDS))
def test_broken_grids_pass_neither(path, value):
    data = broken(broken(GRID, ("axes", "hardware"), ["H800"]), path, value)
    assert faults("grid", data)
    with pytest.raises(InputError):
        grid.load(data)


@pytest.mark.parametrize(("path", "value"), named(BROKEN_SYSTEMS))
def test_broken_systems_pass_neither(path, value, tmp_path, monkeypatch):
    data = broken(SYSTEMS, path, value)
    assert faults("systems", data)
    read = reader.read_toml
    monkeypatch.setattr(reader, "read_toml", lambda file: copy.deepcopy(data) if file == "my.toml" else read(file))
    with pytest.raises(InputError):
        systems.read("my.toml")


def test_grids_of_a_study_have_its_names():
    text = "expert_cv"
    assert faults("grid", {"study": "decode_gpu_2025", "axes": {"hardware": ["H800"]}}) == []
    assert faults("grid", {"study": "decode_gpu_2025", "axes": {"hardware": ["H800"]}, "fixed": {text: 1}})
    assert faults("grid", {"axes": {"hardware": ["H800"]}, "fixed": {text: 1}}) == []
    assert faults("grid", {"study": "decode_gpu_2025", "axes": {"mtp": [2]}})  # which it does not accept
    assert (
        faults("grid", {"phase": "disaggregated", "prefill": {"tp": [1, 2], "chips": 8}, "fixed": {"decode_tp": 3}})
        == []
    )
    assert faults("grid", {"phase": "disaggregated", "prefill": {"isl": 3}})


def test_the_command(tmp_path, capsys):
    out = tmp_path / "grid.json"

    def run(*args):
        with pytest.raises(SystemExit) as stop:
            main([*args], prog_name="dsjax")
        return stop.value.code, capsys.readouterr()

    code, said = run("schema", "grid", "-o", str(out))
    assert code == 0 and "#:schema ./grid.json" in said.out
    assert json.loads(out.read_text()) == VALIDATORS["grid"].schema
    code, said = run("schema", "grid", "-o", str(out))
    assert code == 2 and "--force" in said.err
    assert run("schema", "grid", "-o", str(out), "--force", "--quiet")[1].out == ""
    code, said = run("schema", "systems")
    assert code == 0 and json.loads(said.out) == VALIDATORS["systems"].schema
    code, said = run("schema", "grids")
    assert code == 2 and "did you mean 'grid'" in said.err


def test_toml_of_the_examples_is_what_the_reader_reads():
    path = grid.folder() / "default.toml"
    assert reader.read_toml(path) == tomllib.loads(path.read_text())
