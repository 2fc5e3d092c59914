"""Write a Zarr store by regions, one per slab, in any order and from any process."""

import collections
import concurrent.futures
import os
import secrets
import shutil
import warnings
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..options import option
from ..results import damage, files
from ..results.files import zarr_package
from . import slabs

LEAST_SHARE = 0.2  # of the size of the results: their share on disk, compressed, at least
SYNCS = 16  # at a time: a disk waits for its journal once for several
STORE = "store"  # in the folder of the parts, until it is complete


def check(path, force=False):
    """Refuse a path that cannot be written, or where something else than a store is."""
    zarr_package()
    path = files.named(path)
    if not os.path.lexists(path):
        files.check_output(path)
    elif not (path / "zarr.json").is_file():
        raise InputError(f"{path}: is not a Zarr store; expected a new path, or a store to overwrite")
    elif not force:
        raise files.taken(path)


def begin(held, cut, job):
    """Create the store: coordinates, attributes, and arrays without values; around finished slabs, all of this anew."""
    names, store = tuple(held.read()["variables"]), held.folder / STORE
    with held.writing():
        if not held.finished():
            shutil.rmtree(store, ignore_errors=True)
        fresh = held.folder / f"fresh.{secrets.token_hex(4)}"
        _create(fresh, cut, names, job)
        for path in [path for path in fresh.rglob("*") if path.is_file()]:  # what is damaged is replaced
            place = store / path.relative_to(fresh)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
        shutil.rmtree(fresh)


def _create(store, cut, names, job):
    zarr = zarr_package()
    ds = slabs.header(cut, names, job.command)
    texts = {name: x.astype(object) for name, x in ds.coords.items() if x.dtype.kind == "U"}  # of any length
    ds = ds.assign_coords(texts)
    encoding = {name: {"compressors": _codecs(zarr)} for name in ds.variables}
    ds.to_zarr(store, zarr_format=3, consolidated=False, mode="w", encoding=encoding, write_empty_chunks=True)
    group = zarr.open_group(store, mode="r+")
    for name, (dims, shape, dtype, attributes) in slabs.template(cut, job.dtype, names).items():
        group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=tuple(cut.sizes.get(dim, n) for dim, n in zip(dims, shape)) if shape else "auto",
            chunk_key_encoding={"name": "default", "separator": "."},  # a folder of files, each to be synchronised
            dimension_names=dims,
            attributes={key: _plain(value) for key, value in attributes.items()},
            compressors=_codecs(zarr),
            fill_value=np.nan if dtype.kind == "f" else dtype.type(0),
        )


def save(held, index, data):
    """Write {variable: (place, values)} of a slab: whole chunks, each renamed into place."""
    group = zarr_package().open_group(held.folder / STORE, mode="r+")
    for name, (place, values) in data.items():
        array = group[name].with_config({"write_empty_chunks": True})  # one that is missing was lost
        array[place if place else ...] = values


def complete(held, cut, names, path, job):
    """Take the name of the output; what killed workers left is removed."""
    store = held.folder / STORE
    target = Path(os.path.realpath(path))
    _check_chunks(held, cut, names, store)
    with held.writing():
        for left in store.rglob("*.partial"):
            left.unlink()
        with warnings.catch_warnings():  # an extension of the format, which xarray reads and asks for
            warnings.simplefilter("ignore")
            zarr_package().consolidate_metadata(store)
        damage.mark(store)
        with concurrent.futures.ThreadPoolExecutor(SYNCS) as pool:
            collections.deque(pool.map(files.sync, (*store.rglob("*"), store)), maxlen=0)
        replaced = held.folder / f"replaced.{secrets.token_hex(4)}"
        if job.force and target.exists():
            os.replace(target, replaced)
        try:
            os.rename(store, target)  # fails where something is
        except OSError:
            if not os.path.lexists(target):
                if replaced.exists():
                    os.replace(replaced, target)
                raise
            raise files.taken(path, " by now") from None
        files.sync(target.parent)


def _check_chunks(held, cut, names, store):
    """A slab whose chunks are not all there, a machine having failed perhaps, is not finished any more."""
    arrays = dict(zarr_package().open_group(store, mode="r").arrays())
    dims_of = {name: dims for name, (dims, *_) in slabs.template(cut, held.read()["dtype"], names).items()}
    lost = []
    for index in range(cut.number):
        for name, place in cut.places(index, dims_of).items():
            at = tuple((part.start or 0) // n for part, n in zip(place, arrays[name].chunks))
            chunk = store / name / arrays[name].metadata.encode_chunk_key(at)
            if not (chunk.is_file() and chunk.stat().st_size):
                lost.append(chunk)
                held.forget(index)
    if lost:
        again = option("resume", True)
        raise InputError(f"{lost[0]}: is missing or empty; expected {again}, which evaluates its slab again")


def _codecs(zarr):
    """Compression and checksums of chunks."""
    return [zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()]


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value
