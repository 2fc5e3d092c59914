"""Templates as a new user takes them: printed, filled in, used; and they say what the records say."""

import json
import re
import tomllib

import jsonschema
import pytest

import dsjax
from dsjax import schemas, templates
from dsjax.calibration import measurements
from dsjax.calibration.kinds import KINDS
from dsjax.catalog import reader
from dsjax.cli import main
from dsjax.errors import LONGEST, InputError
from dsjax.space import grid
from dsjax.specs import fields, records
from dsjax.templates import lines
from dsjax.validation import keys, systems

CHIP = fields.fields_of(records.Hardware)
NEEDED = [name for name, meta in CHIP.items() if not {"default", "like"} & meta.keys()]
TOML = [
    ("chip", None, "catalog"),
    *(("grid", phase, "grid") for phase in templates.OF["grid"]),
    ("systems", None, "systems"),
]


def run(capsys, *args):
    with pytest.raises(SystemExit) as stop:
        main([*args], prog_name="dsjax")
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def on(text):
    """A template with every key that is commented out there."""
    return re.sub(r"^# (?=[\w.-]+ = |\[)", "", text, flags=re.MULTILINE)


def filled(text, row="H800"):
    """The template of a chip with the numbers of a row of the catalog."""
    numbers = reader.load()["hardware"][row]
    for name in NEEDED:
        text, n = re.subn(rf'^{name} = "\?.*?"', f"{name} = {float(numbers[name])}", text, flags=re.MULTILINE)
        assert n == 1, name
    return text.replace('source = ""', 'source = "a data sheet"', 1)


@pytest.mark.parametrize(("kind", "of", "schema"), TOML)
def test_templates_name_their_schema_and_pass_it(kind, of, schema):
    text = templates.text(kind, of)
    assert (
        text.startswith(f"#:schema ./{schemas.file_of(schema)}\n")
        and schemas.file_of(schema) in text.partition("\n")[2]
    )
    text = filled(text) if kind == "chip" else text
    validator = jsonschema.Draft202012Validator(json.loads(schemas.text(schema)))
    assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize(("kind", "of"), [(kind, of) for kind, of, _ in TOML])
def test_what_is_commented_out_is_toml(kind, of):
    data = tomllib.loads(on(templates.text(kind, of)))
    if kind == "chip":
        assert data["hardware"]["MyChip"].keys() >= {*CHIP, "source", "base", "kind", "curve"}
    elif kind == "systems":
        assert {*data["study"][0], *data["study"][0]["system"][0]} >= {*keys.KEYS}


def test_a_chip_that_is_not_filled_in_is_refused_at_once(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(templates.text("chip"))
    with pytest.raises(InputError) as error:
        grid.load("default", fixed={"hardware": "MyChip"}, catalogs=[path])
    line = str(error.value)
    assert line.startswith(f"{path}: [hardware.MyChip]: ") and len(line) <= max(LONGEST, len(str(path)) + 100)
    assert line.count("is not a number") >= 2 and re.search(r"and \d+ more$", line)
    assert "exchange_" not in line and "combine_" not in line  # left out: as numbers that are told already


def test_a_chip_filled_in_is_that_chip(tmp_path, capsys):
    path = tmp_path / "my.toml"
    assert run(capsys, "init", "chip", "-o", str(path)) == (0, f"wrote {path}\n", "")
    path.write_text(filled(path.read_text()))
    code, out, _ = run(capsys, *f"sweep --catalog {path} --fix hardware=MyChip --format json --quiet".split())
    assert code == 0 and json.loads(out)["hardware"] == "MyChip"
    own = reader.load(records.RECORDS, (tomllib.loads(path.read_text()), "my.toml"))["hardware"]
    assert {name: own["MyChip"][name] for name in NEEDED} == {name: own["H800"][name] for name in NEEDED}


def test_names_and_paths_of_any_letters_are_toml():
    text = templates.text("chip", name='a\n"b"', file="my\nfile\x07.toml")
    assert [*tomllib.loads(text)["hardware"]] == ['a\n"b"']


def test_defaults_of_a_chip_are_those_of_the_record(tmp_path):
    """With every optional number as the template has it, the row is the one without them."""
    text = filled(templates.text("chip", name="My Chip"))
    plain = tomllib.loads(text)
    full = tomllib.loads(on(text))["hardware"]["My Chip"]
    full = {key: x for key, x in full.items() if key not in ("base", "sources") and x != "?"}
    rows = [
        reader.load(records.RECORDS, (data, "my.toml"))["hardware"]["My Chip"]
        for data in (plain, {"hardware": {"My Chip": full}})
    ]
    assert reader.numbers(rows[0]) == reader.numbers(rows[1]) and rows[0]["curve"] == rows[1]["curve"]


@pytest.mark.parametrize("phase", templates.OF["grid"])
def test_a_grid_is_that_of_dsjax_with_its_defaults(phase, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(templates.text("grid", phase))
    space = grid.load(path)
    own = grid.load(templates.grid.GRIDS[phase])
    assert (space.axes, space.fixed, space.bounds, space.by) == (own.axes, own.fixed, own.bounds, own.by)
    path.write_text(re.sub(r"^# (?=[\w.-]+ = )(?!slo_margin)", "", path.read_text(), flags=re.MULTILINE))
    assert (full := grid.load(path)).fixed == own.fixed and full.axes == own.axes


def test_a_grid_runs_as_it_is(tmp_path, capsys):
    path = tmp_path / "grid.toml"
    assert run(capsys, "init", "grid", "-o", str(path), "--quiet") == (0, "", "")
    code, out, _ = run(capsys, "sweep", str(path), "--format", "json", "--quiet")
    assert code == 0 and json.loads(out)["title"] == "GPU decode of DeepSeek-V3"


def test_systems_validate_as_they_are(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert run(capsys, "init", "systems", "-o", str(path))[0] == 0
    [mine] = systems.read(path).systems
    [own] = [row for row in systems.read().systems if row.used["id"] == mine.used["id"]]
    assert mine.used == own.used and mine.assumed == own.assumed
    assert dsjax.validate(path)["unfitted"].item() > 0.0
    assert run(capsys, "validate", str(path), "--quiet")[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_measurements_are_those_that_are_read(kind, tmp_path):
    path = tmp_path / "times.csv"
    text = templates.text("measurements", kind)
    path.write_text(text)
    with pytest.raises(InputError, match="no measurements"):
        measurements.read(path, kind)
    names = text.splitlines()[-1].split(",")
    path.write_text(text + "".join(",".join("8" for _ in names) + "\n" for _ in range(2)))
    found = measurements.read(path, kind)
    assert {*found.shapes} == {*KINDS[kind].columns, *KINDS[kind].optional}
    assert found.seconds.tolist() == pytest.approx([8e-6])
    assert all(doc in text for _, doc in KINDS[kind].columns.values())


def test_measurements_calibrate(tmp_path, capsys):
    path = tmp_path / "gemm.csv"
    assert run(capsys, *f"init measurements --kind gemm -o {path}".split())[0] == 0
    with path.open("a") as file:
        for m in (16, 64, 256, 1024, 4096):
            for n, k in ((2048, 7168), (7168, 2048), (24576, 1536)):
                seconds = max(2 * m * n * k / 1.4e15, (m * k + n * k + 2 * m * n) / 2.8e12) + 5e-6
                file.write(f"{m},{n},{k},{1e6 * seconds}\n")
    code, out, _ = run(capsys, *f"calibrate {path} --kind gemm --hardware h800 --precision fp8 --format json".split())
    assert code == 0 and json.loads(out)["hardware"] == "H800" and json.loads(out)["median_error"] < 0.1


def test_comments_are_those_before_the_header(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("# a, b\n\n#c\nm,n,k,latency_us\n8,8,8,3\n#8,8,8,3\n")
    with pytest.raises(InputError, match="'#8' is not a number"):
        measurements.read(path, "gemm")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("init chips", "did you mean 'chip'"),
        ("init measurements", "--kind: missing; expected one of gemm"),
        ("init measurements --kind gem", "did you mean 'gemm'"),
        ("init grid --kind decoding", "did you mean 'decode'"),
        ("init chip --kind gemm", "expected no --kind"),
        ("init grid --name x", "expected no --name"),
        ("init chip -o there/my.toml", "does not exist"),
        ("init chip -o my.nc", "of results"),
    ],
)
def test_bad_questions(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *args.split())
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_exists_is_kept(tmp_path, capsys):
    path = tmp_path / "my.toml"
    path.write_text("mine")
    code, _, err = run(capsys, "init", "chip", "-o", str(path))
    assert code == 2 and "--force" in err and path.read_text() == "mine"
    assert run(capsys, "init", "chip", "-o", str(path), "--force")[0] == 0
    assert path.read_text() == templates.text("chip", file=str(path))


@pytest.mark.parametrize("value", [3, 3.0, 0.1, 'a "b" \\ ü', True, [1, "x"], {"start": 8, "stop": 16.5}, 1e30])
def test_values_are_written_as_they_are_read(value):
    assert tomllib.loads(lines.line("key", value, "a meaning"))["key"] == value
