"""Figures of a published formula chapter beside their exact counts (data/sg2260e_formulas.toml)."""

import functools
import re

from ..analysis.count import count, shape_of
from ..catalog import reader
from ..errors import InputError
from ..formulas.operators.shapes import over

FILE = reader.DATA / "sg2260e_formulas.toml"
NORM_FLOPS = 5  # per element: the study's own figure, nothing else counts norms

# Figures that are no variable of a count: key -> function of (model, count at the figure's point)
FUNCTIONS = {
    "mha_cache": lambda m, ds: 2 * m.num_attention_heads * m.v_head_dim,
    "mla_cache": lambda m, ds: m.kv_lora_rank + m.qk_rope_head_dim,
    "cache_ratio": lambda m, ds: (m.kv_lora_rank + m.qk_rope_head_dim) / (2 * m.num_attention_heads * m.v_head_dim),
    "expert": lambda m, ds: 3 * m.hidden_size * m.moe_intermediate_size,
    "norms": lambda m, ds: sum(n for name, n in _column(ds, "layers") if name.endswith("norm")),
    "norm_flops": lambda m, ds: NORM_FLOPS * m.hidden_size * int(ds["batch_total"]),
    "attention_pair": lambda m, ds: int(ds["attention_flops_unfolded"]) // int(ds["context"]),
}
_TERM = re.compile(r"(\w+)(?::([\w+]+))?((?: / (?:layers|chips|total))*)")
_NUMBER = re.compile(r"([\d,]+)(\.\d+)? ?(%|[A-Z][A-Za-z]*)?")


def against_published(model="DeepSeek-V3"):
    """List of {article, figure, printed, formula, published, computed, units, error, agrees, why, count, and the
    point}.

    `error` = published / computed - 1. `agrees`: the count rounds to the printed number, or a printed formula is
    right.
    """
    data = reader.read_toml(FILE)
    if model != data["model"]:
        raise InputError(f"count: model: {model!r} has no published figures; expected {data['model']}")
    shape = shape_of(model, reader.load()["model"])
    counted = functools.cache(lambda point: count(model, **{"precision": "bf16"} | data["at"][point]))
    result = []
    for values in data["rows"]:
        row = dict(zip(data["columns"], values, strict=True))
        published, computed = row["value"], _evaluate(row["count"], shape, counted(row["at"]))
        point = {"tp": 1, "ep": int(counted(row["at"])["ep"])} | data["at"][row["at"]]
        result.append(
            {name: row[name] for name in ("article", "figure", "printed")}
            | {"formula": not _NUMBER.fullmatch(row["printed"])}
            | {"published": published, "computed": computed, "units": row["units"]}
            | {"error": published / computed - 1.0 if computed else float(published != 0)}
            | {"agrees": abs(published - computed) <= _print_rounding(row["printed"], published)}
            | {"why": data["notes"][row["note"]] if row["note"] else "", "count": row["count"], **point}
        )
    return result


def _evaluate(text, model, ds):
    """The number that a sum of "variable[:operators or blocks] [/ layers] [/ chips] [/ total]" names."""
    if text in FUNCTIONS:
        return FUNCTIONS[text](model, ds)
    return sum(_term(*_TERM.fullmatch(term).groups(), ds) for term in text.split(" + "))


def _term(variable, chosen, divisors, ds):
    if not chosen:
        return ds[variable].item()
    names, operators = chosen.split("+"), list(ds["operator"].values)
    value = 0
    for (operator, number), (_, block), (_, held) in zip(
        *(_column(ds, name) for name in (variable, "block", "layers"))
    ):
        # "head" is the operator, not the block of the same name
        if operator in names or (block in names and block not in operators):
            value += over(number, held) if "/ layers" in divisors else number
    value = value / ds["chips"].item() if "/ chips" in divisors else value
    return value / ds[f"total_{variable}"].item() if "/ total" in divisors else value


def _column(ds, name):
    return list(zip(ds["operator"].values.tolist(), ds[name].values.tolist()))


def _print_rounding(printed, value):
    """Half a unit of the last digit of a printed number, in the units of `value`; nothing for a formula, or a number
    printed in full.
    """
    number = _NUMBER.fullmatch(printed)
    if not number or not (number[2] or number[3]):
        return 1e-9 * value
    decimals = number[2] or ""
    scale = value / float(number[1].replace(",", "") + decimals)
    return 0.5000001 * scale * 10.0 ** -len(decimals[1:])
