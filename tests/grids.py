"""Grids of tests: small, and not those that users are given, which change."""

from pathlib import Path

SEVEN_CHIPS = str(Path(__file__).parent / "data" / "seven_chips.toml")
