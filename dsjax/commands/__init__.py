"""The commands of `dsjax`, one file each, in a package for every task group of `dsjax --help`."""
