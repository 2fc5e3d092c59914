"""One resolver of names: every command finds, refuses and moves the same number under the same name."""

import re

import pytest

from dsjax.catalog import reader
from dsjax.errors import InputError
from dsjax.space import grid, parameters
from dsjax.space.parameters import Parameter

STUDY = "decode_gpu_2025"
NAMES = {
    "nic.scale_out_bytes_per_s": Parameter("nic", "scale_out_bytes_per_s"),
    "nic.CX7.scale_out_bytes_per_s": Parameter("nic", "scale_out_bytes_per_s", "CX7"),
    "model.DeepSeek-V3.1.hidden_size": Parameter("model", "hidden_size", "DeepSeek-V3.1"),
    "workload.context": Parameter("workload", "context"),
    "context": Parameter("workload", "context"),
    "ep": Parameter("deployment", "ep"),
    "nic": Parameter("nic", ""),
}


@pytest.fixture(scope="module")
def space():
    return grid.load(STUDY)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_read_and_written(text):
    found = parameters.parse(text)
    assert found == NAMES[text]
    assert not found.field or parameters.parse(str(found)) == found


@pytest.mark.parametrize("text", ["nic.scale_out_bytes_per_s", "nic.CX7.scale_out_bytes_per_s", "curve.gemm_small_k"])
def test_moved_by_any_road(space, text):
    """`--set`, an `Input` and a factor give the same numbers; where they come from is another matter."""
    found = parameters.resolve("here", text, space)
    for row, value in found.values.items():
        alone = parameters.Parameter(found.parameter.record, found.parameter.field, row)
        twice = parameters.multiplied(space, alone, 2.0)
        assert parameters.values_of(twice, alone) == {row: 2.0 * value}
        assert found.by_row()[list(found.values).index(row)].moved(space, 2.0 * value) == twice
        settings = grid.load(STUDY, settings={str(alone): 2.0 * value})
        for record, rows in twice.rows.items():
            for name, row_of in rows.items():
                assert reader.numbers(settings.rows[record][name]) == reader.numbers(row_of)


def test_what_a_grid_gives_wins_over_rows():
    axis, one = "nic_scale_out_bytes_per_s", Parameter("nic", "scale_out_bytes_per_s")
    fixed = grid.load(STUDY, fixed={axis: 5e10})
    assert parameters.values_of(fixed, one) == {"": 5e10}
    assert parameters.multiplied(fixed, one, 2.0) == fixed.with_fixed(**{axis: 1e11})
    varied = grid.load(STUDY, axes={axis: [1e10, 5e10]})
    assert parameters.multiplied(varied, one, 2.0).axes[axis] == (2e10, 1e11)
    with pytest.raises(InputError, match="is an axis of the grid"):
        parameters.resolve("vary", str(one), varied)
    for space in (fixed, varied):
        with pytest.raises(InputError, match=f"overridden by {axis}"):
            parameters.named(space, "nic.CX7.scale_out_bytes_per_s")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nic.CX7.scale_out_byte_per_s", "unknown field of nic 'scale_out_byte_per_s' (did you mean 'scale_out_bytes"),
        ("nic.scale_out_byte_per_s", "(did you mean 'nic.scale_out_bytes_per_s'?); expected one of nic.scale_out"),
        ("nic.CX9.scale_out_bytes_per_s", "unknown nic of this grid 'CX9' (did you mean 'CX7'?)"),
        ("hardware.sms", "hardware.sms is discrete"),
        ("ep", "ep is"),
        ("deployment.tp", "deployment.tp is discrete"),  # which the study does not read
        ("workload.CX7.context", "unknown parameter 'workload.CX7.context'"),
        ("hub.bytes", "unknown parameter 'hub.bytes'"),
    ],
)
def test_one_refusal_wherever_it_is_asked(space, text, words):
    for ask in (lambda: parameters.resolve("here", text, space), lambda: parameters.named(space, text)):
        with pytest.raises(InputError) as error:
            ask()
        assert words in str(error.value) and "\n" not in str(error.value)
    if "discrete" not in words and not text.startswith("workload."):  # which `fixed` sets
        with pytest.raises(InputError, match=re.escape(f"settings[{text!r}]")):
            grid.load(STUDY, settings={text: 1.0})


def test_names_of_sensitivity(space):
    every = parameters.named(space, "all")
    assert every == tuple(parameters.known(space)) and set(parameters.named(space)) < set(every)
    nic = parameters.named(space, "nic")
    assert nic == parameters.named(space, ["nic", str(nic[0])]) and {name.record for name in nic} == {"nic"}
