"""Names of rows in any case, and models with their owner: everywhere, and kept in the row's own spelling."""

import json

import numpy as np
import pytest

import dsjax
from dsjax.catalog import names, reader
from dsjax.cli import main
from dsjax.errors import InputError
from dsjax.space import grid
from dsjax.validation import systems

POINT = {
    "title": "DeepSeek-V3 in a test",
    "model": "deepseek-v3",
    "axes": {"hardware": ["h100", "H800"], "nic": ["cx7", "E810"], "engine": ["SGLang"]},
    "fixed": {"tp": 8, "chips": 32, "batch": 16, "context": 4096, "precision": "FP8", "curve": "Measured"},
}


def test_rows_are_kept_in_their_own_spelling():
    space = grid.load(POINT)
    assert space.axes == {"hardware": ("H100", "H800"), "nic": ("CX7", "E810"), "engine": ("sglang",)}
    assert {name: space.fixed[name] for name in ("model", "precision", "curve")} == {
        "model": "DeepSeek-V3",
        "precision": "fp8",
        "curve": "measured",
    }
    ds = dsjax.sweep(POINT)
    assert json.loads(ds.attrs["dsjax_spec"])["fixed"]["model"] == "DeepSeek-V3"
    assert ds["hardware"].values.tolist() == ["H100", "H800"]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("deepseek-ai/DeepSeek-V3", "DeepSeek-V3"),
        ("DeepSeek-AI/deepseek-r1", "DeepSeek-R1"),
        ("moonshotai/Kimi-K2-Instruct", "Kimi-K2"),  # its repository is called otherwise
        ("zai-org/GLM-4.5", "GLM-4.5"),  # a source without a repository
        ("QWEN3-8B", "Qwen3-8B"),
    ],
)
def test_models_with_their_owner(text, row):
    assert grid.load(POINT, fixed={"model": text}).fixed["model"] == row
    assert dsjax.count(text)["model"].item() == row


def test_an_option_that_names_a_model_is_spelt_out_in_the_title():
    assert grid.load(POINT | {"model": "DeepSeek-V3"}, fixed={"model": "deepseek-ai/deepseek-r1"}).title == (
        "DeepSeek-R1 in a test"
    )


def test_titles_say_what_the_options_ask():
    titled = POINT | {"model": "DeepSeek-V3"}
    assert grid.load(titled, axes={"model": ["Kimi-K2", "glm-4.5"]}).title == "Kimi-K2 and GLM-4.5 in a test"
    assert grid.load(titled, axes={"model": ["Kimi-K2", "GLM-4.5", "DeepSeek-V3"]}).title == "3 models in a test"
    for name in ("serve", "disaggregated"):  # whatever lengths are asked: they stand among what is fixed
        assert not any(x.isdigit() for x in grid.load(name).title.replace("DeepSeek-R1", ""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("somebody/DeepSeek-V3", "unknown model 'somebody/DeepSeek-V3' (did you mean"),  # stored otherwise, perhaps
        ("deepseek-ai/DeepSeek-V3/raw", "unknown model"),
        ("deepseek-v33", "did you mean 'DeepSeek-V3"),
        ("deepseek-ai/", "unknown model"),
    ],
)
def test_other_names_are_unknown(text, said):
    with pytest.raises(InputError) as error:
        grid.load(POINT, fixed={"model": text})
    assert said in str(error.value)


def test_ambiguous_names_are_refused(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text('[hardware.h20x]\nbase = "H20"\n[hardware.H20X]\nbase = "H20"\n[hardware.h800]\nbase = "H20"\n')
    with pytest.raises(InputError, match=r"hardware 'h20X' is ambiguous; expected one of h20x, H20X"):
        grid.load(POINT, axes={"hardware": ["h20X"]}, catalogs=[path])
    found = grid.load(POINT, axes={"hardware": ["h20x", "h800", "H800"]}, catalogs=[path])
    assert found.axes["hardware"] == ("h20x", "h800", "H800")  # a row's own spelling is that row


def test_two_spellings_of_one_row_are_one_value():
    with pytest.raises(InputError, match="'H800' is there twice"):
        grid.load(POINT, axes={"hardware": ["h800", "H800"]})


def test_only_models_have_owners():
    with pytest.raises(InputError, match="unknown hardware 'nvidia/H100'"):
        grid.load(POINT, axes={"hardware": ["nvidia/H100"]})


def test_settings_and_places_of_a_point():
    space = grid.load(POINT, settings={"hardware.h100.watts": 123, "model.deepseek-ai/DeepSeek-V3.vocab_size": 5})
    assert space.rows["hardware"]["H100"]["watts"] == 123 and space.rows["hardware"]["H800"]["watts"] == 700
    assert space.rows["model"]["DeepSeek-V3"]["vocab_size"] == 5
    ds = dsjax.sweep(POINT)
    at = {"hardware": "h800", "nic": "e810", "engine": "sglang"}
    assert dsjax.explain(ds, at=at)["hardware"].item() == "H800"
    solved = dsjax.solve(POINT, "nic.cx7.scale_out_bytes_per_s", break_even={"hardware": ("h800", "h100")})
    assert "H800" in str(solved.attrs)
    with pytest.raises(InputError, match="two different labels"):
        dsjax.solve(POINT, "nic.cx7.scale_out_bytes_per_s", break_even={"hardware": ("h800", "H800")})


def test_systems(tmp_path):
    text = (
        '[[study]]\nid = "A"\ndate = "2026"\nsource = "a log"\n[[study.system]]\nid = "A1"\nmetric = "decode"\n'
        'value = 2000\nmodel = "{}"\nhardware = "{}"\nprecision = "{}"\nengine = "{}"\nchips = 8\nbatch = 64\n'
    )
    predicted = []
    for name, given in {
        "plain": ("DeepSeek-V3", "H200", "fp8", "vllm"),
        "other": ("deepseek-ai/DeepSeek-V3", "h200", "FP8", "vLLM"),
    }.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(text.format(*given))
        found = dsjax.validate(path, settings={"hardware.h200.hbm_bytes_per_s": 4e12})
        predicted.append(found["unfitted"].item())
        assert systems.read(path).systems[0].assumed == systems.read(tmp_path / "plain.toml").systems[0].assumed
    assert predicted[0] == predicted[1]


def test_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(
            "sweep --model deepseek-ai/DeepSeek-V3 --axis hardware=h20,b200 --fix nic=cx7 --fix precision=FP8 "
            "--quiet --set hardware.b200.watts=9 --format json".split(),
            prog_name="dsjax",
        )
    answer = json.loads(capsys.readouterr().out)
    assert (answer["hardware"], answer["nic"], answer["model"]) == ("B200", "CX7", "DeepSeek-V3")


def test_every_row_of_the_catalog_is_found_by_its_name_in_lower_and_upper_case():
    for kind, rows in reader.load().items():
        for row in rows:
            assert names.canonical("here", kind, row.lower(), rows) == row
            assert names.canonical("here", kind, row.upper(), rows) == row


def test_all_rows_of_a_catalog_and_all_choices():
    """An axis of labels may be "all": every row, every choice."""
    every = grid.load(POINT | {"axes": {"hardware": "all", "engine": ["sglang"], "pipeline": ["all"]}, "fixed": FIXED})
    assert every.axes["hardware"] == tuple(reader.load()["hardware"])
    assert every.axes["pipeline"] == tuple(every.study.policies["pipeline"].choices)
    with pytest.raises(InputError, match="batch"):
        grid.load(POINT | {"axes": {"batch": "all"}})


FIXED = POINT["fixed"] | {"nic": "CX7"}


def test_every_model_on_every_chip_is_finite():
    """All models and all chips in one call: of each kind of layer, no NaN in what a phase defines."""
    for phase, load in (("decode", {"batch": 8}), ("prefill", {"prompts": 8})):
        fixed = {"nic": "CX7", "tp": 8, "chips": 8, "context": 4096, "precision": "bf16"} | load
        ds = dsjax.sweep({"phase": phase, "axes": {"model": "all", "hardware": "all"}, "fixed": fixed})
        assert ds.sizes["model"] >= 60 and ds.sizes["hardware"] >= 40
        for name in ("step_time", "tps_per_chip", "memory_per_chip", "block_time"):
            assert np.isfinite(ds[name]).all(), (phase, name)
            assert (ds[name] >= 0.0).all()
