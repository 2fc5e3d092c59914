"""Text files of users: what cannot be read ends in one line that names the file, before it is read."""

import os

import pytest

import dsjax
from dsjax import texts
from dsjax.calibration import measurements
from dsjax.catalog import configs, reader
from dsjax.validation.benchmarks import record

# Every reader of a file that a user names, and what it expects.
READERS = {
    "grid": (lambda path: dsjax.sweep(str(path)), "grid.toml", "a TOML file"),
    "catalog": (lambda path: reader.users([path]), "own.toml", "a TOML file"),
    "config": (configs.read, "config.json", "a Hugging Face config.json"),
    "benchmark": (record.records, "run.json", "the result file of a benchmark"),
    "measurements": (lambda path: measurements.read(path, "gemm"), "gemm.csv", "a CSV file"),
}


def fifo(path):
    os.mkfifo(path)


def latin(path):
    path.write_bytes(b"title = '\xff'")


def large(path):
    with path.open("wb") as file:
        file.truncate(2**28 + 1)  # a hole: it takes no room on the disk


MADE = {
    "is a folder": os.mkdir,
    "is no regular file": fifo,
    "is not UTF-8": latin,
    "268,435,457 bytes": large,
    "No such file": lambda path: None,
    "is no regular file; ": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("words", MADE)
@pytest.mark.parametrize("name", READERS)
def test_what_cannot_be_read_is_one_line(tmp_path, name, words):
    """A folder, a pipe that nobody writes to, a device without end, other bytes, too many of them, and nothing."""
    read, file, expected = READERS[name]
    path = tmp_path / file
    MADE[words](path)
    with pytest.raises(dsjax.InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ") and words in str(error.value)
    assert expected in str(error.value) and len(str(error.value)) < 300 + len(str(path))


def test_a_name_with_a_null_byte():
    with pytest.raises(dsjax.InputError, match="cannot be read"):
        texts.read("a\0b", "a text")


def test_a_text_is_read_without_its_byte_order_mark(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert texts.read(path, "a text") == "a\r\nb"
