"""Published figures, each at its own deployment, against what is computed; contradictions; conclusions."""

import ast
import operator

import numpy as np
import xarray as xr

from ..space import grid
from ..sweeps.sweep import of_space
from . import sg2260e_conclusions

FIGURE = ("quantity", "published", "computed", "error", "tolerance", "ok", "note")  # of a row beside its deployment
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

# study -> its conclusions: ({sweep of its published figures: Dataset}) -> list of `Conclusion`
CONCLUSIONS = {"sg2260e": sg2260e_conclusions.conclusions}


def compare(study):
    """A study's published figures beside the computed ones, as a Dataset over `row`.

    Over `row`: the deployment, `quantity`, `published`, `computed`, `error` (relative), `tolerance` (NaN: shown,
    never gates), `ok`. Over `conclusion`: what the study concludes, what a search finds (`found`), whether it
    `holds`, and whether it is `expected` to: what does not is shown, and never gates either. Over `check`: the
    arithmetic of the study's contradictions (dim `contradiction`), one of which each is `check_of`.
    """
    published = study.data["published"]
    sweeps = {
        name: of_space(grid.load(grid.folder() / f"{sweep['grid']}.toml", axes=sweep["axes"]), blocks=True)
        for name, sweep in published["sweeps"].items()
    }
    rows = []
    for name, table in published["figures"].items():
        for row in table["rows"]:
            rows.append(_figure(sweeps[name], published["quantities"], table["at"], dict(zip(table["columns"], row))))
    deployment = [name for row in rows for name in row if name not in FIGURE]
    names = [*dict.fromkeys(deployment), *FIGURE]
    result = xr.Dataset({name: ("row", _column([row.get(name, "") for row in rows])) for name in names})
    result = result.set_coords(names[: -len(FIGURE)])
    return result.assign(_conclusions(CONCLUSIONS[study.name](sweeps)) | _contradictions(published["contradictions"]))


def _figure(ds, quantities, at, row):
    """One published figure with what is computed at its deployment."""
    labels = {name: value for name, value in row.items() if name not in FIGURE}
    variable, unit = quantities[row["quantity"]]
    point = ds.sel(at | labels)
    name, _, block = variable.partition("/")
    value = point[name].sel(block=block) / point.layers.sel(block=block) if block else point[name]
    computed = float(value) / unit
    error = computed / row["published"] - 1.0
    numbers = {"published": float(row["published"]), "computed": computed, "error": error}
    return row | numbers | {"ok": not abs(error) > row["tolerance"]}


def _column(values):
    """Numbers as numbers; texts, and what is empty in some rows, as objects."""
    kinds = {type(value) for value in values}
    return np.array(values, object if str in kinds else None)


def _conclusions(found):
    columns = {
        "conclusion": [x.says for x in found],
        "found": [x.computed for x in found],
        "holds": [x.holds for x in found],
        "expected": [x.expected for x in found],
    }
    return {name: ("conclusion", _column(values)) for name, values in columns.items()}


def _contradictions(given):
    checks = [(i, *check) for i, x in enumerate(given) for check in x["arithmetic"]]
    columns = {
        "check_of": [i for i, _, _, _ in checks],
        "check_what": [what for _, what, _, _ in checks],
        "check_expression": [text for _, _, text, _ in checks],
        "check_computed": [value_of(text) for _, _, text, _ in checks],
        "check_printed": [float(printed) for *_, printed in checks],
    }
    data = {name: ("check", _column(values)) for name, values in columns.items()}
    return data | {"contradiction": ("contradiction", _column([x["says"] for x in given]))}


def value_of(text):
    """The number that an expression of numbers, + - * / ** and brackets gives."""

    def of(node):
        if isinstance(node, ast.Constant):
            return node.value
        return _OPERATORS[type(node.op)](of(node.left), of(node.right))

    return float(of(ast.parse(text, mode="eval").body))


def gated(result):
    """Which rows have a tolerance."""
    return ~np.isnan(result["tolerance"].values)


def summary(result):
    """One line: figures within their tolerance, conclusions that come out."""
    gate, ok = gated(result), result["ok"].values
    errors = np.abs(result["error"].values)[gate]
    expected, holds = result["expected"].values, result["holds"].values
    shown = len(gate) - gate.sum()
    return (
        f"{(gate & ok).sum()} of {gate.sum()} figures within their tolerance, largest relative error "
        f"{errors.max(initial=0.0):.1%}; {shown} more shown; {(expected & holds).sum()} of {expected.sum()} "
        f"conclusions that the model supports come out, {(~expected & ~holds).sum()} others do not and are listed; "
        f"{result.sizes['contradiction']} contradictions"
    )


def passed(result):
    """Whether every figure with a tolerance is within it, and every conclusion expected to come out does."""
    return bool(result["ok"].all()) and bool((result["holds"] | ~result["expected"]).all())


def details(result):
    """{"conclusions": [...], "contradictions": [...]} as plain values."""
    names = ("conclusion", "found", "holds", "expected")
    conclusions = [dict(zip(names, row)) for row in zip(*(result[name].values.tolist() for name in names))]
    checks = _checks(result)
    contradictions = [
        {"contradiction": says, "arithmetic": [check for of, check in checks if of == i]}
        for i, says in enumerate(result["contradiction"].values.tolist())
    ]
    return {"conclusions": conclusions, "contradictions": contradictions}


def _checks(result):
    """[(index of the contradiction, {what, expression, computed, printed: None where the study prints nothing})]."""
    names = ("what", "expression", "computed", "printed")
    columns = (result[f"check_{name}"].values.tolist() for name in names)
    checks = [
        dict(zip(names, (None if isinstance(x, float) and np.isnan(x) else x for x in row))) for row in zip(*columns)
    ]
    return list(zip(result["check_of"].values.tolist(), checks))
