"""A space in slabs gives what it gives in one piece."""

import dataclasses
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import dsjax
from dsjax import evaluation, machine
from dsjax.space import grid
from dsjax.sweeps import slabs

STUDY = "decode_gpu_2025"


@pytest.fixture(scope="module")
def space():
    return grid.load(STUDY)


@pytest.fixture(scope="module")
def whole(space):
    return evaluation.evaluate(space, "float64")


def test_every_point_is_in_exactly_one_slab(space):
    for most in (1, 100, 400, 700, 1500, 5000):
        cut = slabs.cut(space, most)
        covered = np.zeros(tuple(space.sizes.values()), int)
        for i in range(cut.number):
            window = cut.window(i)
            covered[tuple(window.get(axis, slice(None)) for axis in space.axes)] += 1
            piece = cut.piece(i)
            assert piece.sizes == cut.sizes
            for axis, values in piece.axes.items():  # the own part is inside the piece, at its end
                own = space.axes[axis][window.get(axis, slice(None))]
                assert values[len(values) - len(own) :] == own
        assert (covered == 1).all()
        assert cut.points <= most or cut.number == space.points // space.sizes["pipeline"]


def test_axes_that_choose_a_function_are_not_cut(space):
    assert "pipeline" not in dict(slabs.cut(space, 1).cuts)
    assert slabs.cut(space, 10**9).cuts == () and slabs.cut(space, 10**9).number == 1


@pytest.mark.parametrize("most", [400, 4000])
def test_slabs_equal_one_piece(space, whole, most):
    cut = slabs.cut(space, most)
    assert cut.number > 1 and (most == 4000 or any(space.sizes[a] % n for a, n in cut.cuts))
    seen = []
    arrays = slabs.arrays_of(cut, "float64", tuple(whole), seen.append)
    assert len(seen) == cut.number and sum(seen) == space.points
    assert list(arrays) == list(whole)
    for name, (dims, values) in whole.items():
        assert arrays[name][0] == dims and arrays[name][1].dtype == values.dtype
        if values.dtype.kind == "f":
            np.testing.assert_array_max_ulp(arrays[name][1], values, maxulp=4)
        else:
            np.testing.assert_array_equal(arrays[name][1], values)


def test_a_variable_that_lacks_the_cut_axes_is_written_once(space, whole):
    cut = slabs.cut(space, 700)
    axes = [axis for axis, _ in cut.cuts]
    written = dict.fromkeys(whole, 0)
    for i in range(cut.number):
        part = {name: (dims, np.empty([cut.sizes[a] for a in dims])) for name, (dims, _) in whole.items()}
        for name, (_, values) in cut.placed(i, cut.trimmed(i, part)).items():
            written[name] += values.size
    assert written == {name: values.size for name, (_, values) in whole.items()}
    assert any(not set(axes) & set(dims) for dims, _ in whole.values())


def test_template_is_the_dataset(space, whole):
    from dsjax.results import dataset

    found = slabs.template(slabs.cut(space, 700), "float64", tuple(whole))
    ds = dataset.to_dataset(space, whole)
    assert list(found) == list(ds.data_vars)
    for name, (dims, shape, dtype, _) in found.items():
        assert (dims, shape, dtype) == (ds[name].dims, ds[name].shape, ds[name].dtype)


def test_memory_limit(space):
    names = slabs.names_of(space, "float64", False)
    room = 50_000_000
    while room > 1000:
        try:
            cut = slabs.within(space, "float64", names, room)
        except dsjax.InputError as error:
            assert "expected a larger max_memory" in str(error)
            break
        assert slabs.AHEAD * slabs.WORKING * slabs.nbytes(cut.piece(0), "float64", names) <= room
        room //= 2
    else:
        pytest.fail("no limit was too small")


def test_an_error_in_one_slab_stops_the_rest():
    """Also while an earlier slab is slow, so that the error waits to be seen: nothing is begun after it."""
    seen, failed = [], threading.Event()

    def fail(index):
        seen.append(index)
        if index == 1:
            assert failed.wait(60)
            time.sleep(0.2)
        if index == 3:
            failed.set()
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        slabs.each(fail, range(100))
    assert len(seen) <= 3 + slabs.AHEAD


def test_devices_take_turns_and_agree():
    """In a process of its own: the devices of a CPU are made when JAX starts."""
    code = f"""
import os
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
import numpy as np
from dsjax.space import grid
from dsjax.sweeps import slabs
devices = slabs.local_devices(2)
assert len(set(devices)) == 2
space = grid.load({STUDY!r})
cut = slabs.cut(space, 700)
one, two = (slabs.arrays_of(cut, "float64", ("step_time", "feasible"), devices=d) for d in (devices[:1], devices))
for name in one:
    np.testing.assert_array_equal(one[name][1], two[name][1])
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_too_many_devices():
    with pytest.raises(dsjax.InputError, match="devices: 64 wanted and 1 of kind"):
        evaluation.evaluate(grid.load(STUDY, axes={"batch": [16]}), names=("step_time",))  # JAX has started
        slabs.local_devices(64)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(dsjax.InputError, match="positive integer"):
            slabs.local_devices(wrong)


def test_a_sub_space_keeps_only_its_rows(space):
    cut = slabs.cut(space, 700)
    assert list(cut.piece(0).rows["hardware"]) == [space.axes["hardware"][0]]
    assert dataclasses.replace(cut.piece(0), axes=space.axes, rows=space.rows) == space


def test_freed_pages_are_kept_where_the_c_library_can():
    """In a process of its own: what is told to the allocator holds for all of it."""
    script = (
        "import resource, sys; import numpy as np; from dsjax import machine; kept = machine.keep_pages();"
        "f = lambda: [np.ones(2**21) for _ in range(4)]; [f() for _ in range(3)];"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "[f() for _ in range(10)];"
        "print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    assert not kept or faults < 40 * 2**24 // 4096 // 10  # pages of 10 times 4 arrays
    assert kept == (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("compiled", [False, True])
def test_all_slabs_of_a_space_have_one_evaluator(space, monkeypatch, compiled):
    """So that a sweep that is resumed has the same bits, whichever of its slabs was the first one of a process."""
    monkeypatch.setattr(evaluation, "pays", lambda *_: compiled)
    cut = slabs.cut(space, 1500)
    assert cut.number > 1
    names, asked, evaluate = ("tps_per_chip", "mbu"), [], evaluation.evaluate
    monkeypatch.setattr(evaluation, "evaluate", lambda *a, **how: asked.append(how["compiled"]) or evaluate(*a, **how))
    once = [slabs.evaluated(cut, index, "float64", names) for index in range(cut.number)]
    again = [slabs.evaluated(cut, index, "float64", names) for index in reversed(range(cut.number))][::-1]
    assert asked == [compiled] * 2 * cut.number
    for one, other in zip(once, again, strict=True):
        for name, (dims, array) in one.items():
            assert dims == other[name][0] and array.tobytes() == other[name][1].tobytes()


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_keeps_no_pages(error, monkeypatch):
    def library(name):
        raise error(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", library)
    assert machine.keep_pages() is False
