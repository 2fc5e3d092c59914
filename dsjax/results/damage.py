"""What is damaged in a file or a store of results: found by checksums and by chunks that are missing, and named.

Chunks have checksums, Fletcher's of HDF5 in a NetCDF file and CRC-32C in a Zarr store, which their libraries verify
when the chunk is read. A chunk that is not there is a fill value: a store that dsjax wrote has all of its chunks and
says so (`ALL_THERE`).
"""

import contextlib
import json
import warnings
import zlib
from pathlib import Path

import netCDF4
import numpy as np

from ..errors import InputError, Remark
from .files import zarr_package

# Attributes of a store that xarray neither shows nor hands on to a store that it writes.
ALL_THERE, METADATA = "_nc_all_chunks_are_there", "_nc_crc32_of_metadata"
WANTED = "expected the file as dsjax wrote it (another copy, or the sweep again)"
CAUGHT = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, IndexError)


def mark(store):
    """Say in a store, which is complete, that all of its chunks are there, and what its metadata is."""
    path = Path(store) / "zarr.json"
    metadata = json.loads(path.read_text("utf-8"))
    metadata["attributes"][ALL_THERE] = True
    metadata["attributes"][METADATA] = _crc32(metadata)
    path.write_text(json.dumps(metadata, separators=(",", ":")), "utf-8")


def check_store(path):
    """Refuse a store that says that all chunks are there, where one is not; remark where its metadata was changed."""
    try:
        text = (Path(path) / "zarr.json").read_bytes()
    except OSError:  # who opens it says so
        return
    try:
        metadata = json.loads(text)
        attributes = metadata.get("attributes", {})
        if not attributes.get(ALL_THERE):  # another wrote it, or dsjax when it did not say so
            return
        whole = attributes.get(METADATA) == _crc32(metadata)
        arrays = dict(zarr_package().open_group(path, mode="r").arrays())
        chunks = [
            (name, x.metadata.encode_chunk_key(i)) for name, x in arrays.items() for i in np.ndindex(x.cdata_shape)
        ]
    except CAUGHT as error:
        reason = str(error).split("\n")[0][:120]
        raise InputError(f"{path}: zarr.json is damaged ({reason}); {WANTED}") from None
    for name, chunk in chunks:
        if not (Path(path) / name / chunk).is_file():
            raise InputError(f"{path}: variable {name}: chunk {chunk} is missing: the store is damaged; {WANTED}")
    if not whole:
        said = f"{path}: zarr.json is not as dsjax wrote it (its checksum differs): it was changed, or is damaged"
        warnings.warn(said, Remark, stacklevel=3)


def load(ds, path):
    """Read all variables of a dataset; one that is damaged is an InputError that names it, and its chunk."""
    for name, variable in ds.variables.items():
        try:
            variable.load()
        except CAUGHT as error:
            reason = str(error).split("\n")[0][:120]
            where = f"{path}: variable {name}:{_chunk(variable, Path(path), name)}"
            raise InputError(f"{where} is damaged ({reason}); {WANTED}") from None


def _chunk(variable, path, name):
    """ " chunk ..." of the first one that cannot be read; "" where chunks can, or cannot be told apart."""
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir():
                source = zarr_package().open_array(path / name, mode="r")
                shape = source.chunks
            else:
                source = stack.enter_context(netCDF4.Dataset(path))[name]
                shape = source.chunking()
            counts = [-(-n // size) for n, size in zip(variable.shape, shape, strict=True)]
        except CAUGHT:  # of what is not in chunks there is one word
            return ""
        for place in np.ndindex(*counts):
            try:
                source[tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, shape, strict=True))]
            except CAUGHT:
                return f" chunk {'/'.join(map(str, place))}"
    return ""


def _crc32(metadata):
    """The checksum of a store's metadata, but for the checksum itself."""
    attributes = {name: x for name, x in metadata["attributes"].items() if name != METADATA}
    return zlib.crc32(json.dumps(metadata | {"attributes": attributes}, sort_keys=True).encode("utf-8"))
