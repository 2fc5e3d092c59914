"""Output files: checked before anything is computed, written to a temporary name, renamed."""

from ..errors import InputError


def zarr_package():
    """The package `zarr`."""
    try:
        import zarr
    except ImportError:
        raise InputError("zarr: is not installed; expected the extra: pip install 'dsjax[zarr]'") from None
    return zarr
