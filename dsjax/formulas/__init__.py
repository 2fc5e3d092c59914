"""Pure scalar functions of records: no files, no xarray."""
