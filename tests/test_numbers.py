"""Numbers in and out at every edge: prefixes, units, ends of domains; digits, and where one form becomes another."""

import math

import pytest

from dsjax import formats, units
from dsjax.errors import InputError

ANY = {name: units.domain(name, low=-math.inf) for name in ("B/s", "B", "FLOP/s", "Hz", "s", "1", "token", "USD/h")}


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("3 nB", "B", 3e-9), ("3 us", "s", 3e-6), ("3 ms", "s", 3e-3), ("3 kB", "B", 3e3), ("3 MB", "B", 3e6),
        ("3 GB/s", "B/s", 3e9), ("3 TB", "B", 3e12), ("3 PB", "B", 3e15), ("3 KiB", "B", 3072.0),
        ("3 MiB", "B", 3.0 * 1024**2), ("3 GiB", "B", 3.0 * 1024**3), ("3 TiB/s", "B/s", 3.0 * 1024**4),
        ("3 PiB", "B", 3.0 * 1024**5), ("8 Gbit/s", "B/s", 1e9), ("3 TFLOPS", "FLOP/s", 3e12),
        ("3 TOPS", "FLOP/s", 3e12), ("3 TOP/s", "FLOP/s", 3e12), ("3 TFLOP/s", "FLOP/s", 3e12), ("3 GHz", "Hz", 3e9),
        ("50 %", "1", 0.5), ("1/4", "1", 0.25), ("3 token", "token", 3.0), ("2 USD/h", "USD/h", 2.0),
        ("-2", "1", -2.0), ("1_000", "1", 1000.0), ("1e3", "1", 1000.0),
    ],
)  # fmt: skip
def test_every_prefix_and_unit(text, unit, number):
    assert units.number("x", text, ANY[unit]) == pytest.approx(number, rel=1e-15)


WHOLE = units.domain("1", low=1.0, open_low=False, integer=True)
SHARE = units.domain("1", high=1.0)
EDGES = [  # domain, good ones, bad ones
    (units.domain("s"), (1e-30, 1e30), (0.0, -1.0, 0.9e-30, 1.1e30, math.inf, math.nan)),
    (units.domain("s", open_low=False), (0.0, 1e-30, 1e30), (-1e-30, 0.9e-30, 1.1e30)),
    (SHARE, (1e-30, 1.0), (0.0, 1.0 + 1e-15)),
    (SHARE | {"or_zero": True}, (0.0, 1.0), (-0.1, 1.1)),
    (units.domain("1", low=2.0), (2.0 + 1e-15,), (2.0,)),
    (units.domain("1", low=2.0, open_low=False), (2.0,), (2.0 - 1e-15,)),
    (WHOLE, (1, 2.0, 2**31 - 1), (0, 1.5, 2**31)),
    (units.domain("1", low=-math.inf), (-1e30, 0.0, 1e30), (-1.1e30,)),
]


@pytest.mark.parametrize(("domain", "good", "bad"), EDGES)
def test_ends_of_domains(domain, good, bad):
    for x in good:
        assert units.number("x", x, domain) == x
    for x in bad:
        with pytest.raises(InputError, match="x: "):
            units.number("x", x, domain)
    assert type(units.number("x", 3.0, WHOLE)) is int


def test_domains_in_words():
    said = [units.expected(domain) for domain, _, _ in EDGES]
    assert said == [
        "a number above 0 [s]", "a number of at least 0 [s]", "a number above 0 to 1", "a number above 0 to 1, or 0",
        "a number above 2", "a number of at least 2", "an integer of at least 1", "a number",
    ]  # fmt: skip
    assert units.expected(units.domain("1", low=1.0, open_low=False, high=8.0)) == "a number from 1 to 8"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999999.0, "token", "999,999 token"), (1e6, "token", "1,000,000 token"), (-1e6, "1", "-1,000,000"),
        (1234567.0, "1", "1,234,567"), (999999999999999.0, "1", "999,999,999,999,999"), (1e15, "1", "1e+15"),
        (1.5, "1", "1.5"), (math.nan, "s", "-"), (math.inf, "B", "-"), (0.0, "B/s", "0 B/s"), (1.0, "s", "1 s"),
        (1e-3, "s", "1 ms"), (0.999e-3, "s", "999 us"), (1e3, "B", "1 kB"), (999.0, "B", "999 B"),
        (1e3 * (1.0 - 1e-13), "B", "1 kB"), (1e3 * (1.0 - 1e-11), "B", "1,000 B"), (-2e9, "B/s", "-2 GB/s"),
        (1e-12, "s", "0.001 ns"), (3e18, "B", "3,000 PB"),
    ],
)  # fmt: skip
def test_quantities_where_a_form_becomes_another(value, unit, text):
    assert formats.quantity(value, unit) == text


def test_digits_where_a_form_becomes_another():
    cases = {1e-4: "0.0001000", 0.99994e-4: "9.999e-05", 0.99996e-4: "0.0001000", 999.94: "999.9", 9.9999: "10.00"}
    cases |= {999.96: "1,000", 12345.6: "12,346", 1e8: "100,000,000", 999900000.0: "999,900,000", 1e9: "1.000e+09"}
    cases |= {-39.5: "-39.50", 0.0: "0", math.inf: "inf"}
    assert {x: formats.significant(x) for x in cases} == cases
    assert formats.significant(2.0, 1) == "2" and formats.significant(0.25, 2) == "0.25"
    assert [formats.rounded(x) for x in (999.94, 1000.0, 1000.4, 0.5)] == ["999.9", "1,000", "1,000", "0.5"]


def test_labels_where_a_form_becomes_another():
    assert [formats.label(x) for x in (999999999, 1e9, 1.0, 0.5, -3, True, "x")] == [
        *("999999999", "1e+09", "1", "0.5", "-3", "True", "x")
    ]
    assert formats.label(2e9, "Hz") == "2 GHz"


@pytest.mark.parametrize(
    ("name", "value", "heading", "text"),
    [
        ("step_time", 0.0125, "step ms", "12.50"), ("tpot", 0.02, "TPOT ms", "20.00"), ("ttft", 1.5, "TTFT s", "1.500"),
        ("tps_per_user", 20.0, "tok/s/user", "20.00"), ("tps_per_chip", 1234.56, "tok/s/chip", "1,234.6"),
        ("tps_total", 1234.56, "tok/s total", "1,235"), ("memory_per_chip", 85e9, "GB/chip", "85.0"),
        ("mfu", 0.255, "MFU %", "25.5"), ("mbu", 0.5, "MBU %", "50.0"), ("energy_per_token", 1.25, "J/token", "1.250"),
        ("cost_per_million_tokens", 0.5, "USD/Mtok", "0.500"), ("chips", 1024.0, "chips", "1,024"),
    ],
)  # fmt: skip
def test_every_column_of_a_table(name, value, heading, text):
    assert (formats.heading(name), formats.shown(name, value), formats.shown(name, math.nan)) == (heading, text, "-")
    assert float(formats.scaled(name, value)) == pytest.approx(float(text.replace(",", "")), rel=1e-3)
