"""How well predictions agree with measurements: errors, a fitted factor, ratios, order."""

import itertools

import numpy as np

from .. import numerics
from .measured import CLASSES, METRICS

FAR = 0.30  # an error above this is named


def fitted_factor(fixed_s, scaled_s, measured_s):
    """The factor f > 0 at which the geometric mean of (fixed_s + f scaled_s) / measured_s is 1, by bisection in log f.

    NaN without points, or where no factor does it.
    """
    fixed_s, scaled_s, measured_s = (np.asarray(x, float) for x in (fixed_s, scaled_s, measured_s))

    def bias(log_factor):
        return np.mean(np.log((fixed_s + np.exp(log_factor) * scaled_s) / measured_s))

    low, high = np.log(1e-6), np.log(1e6)
    if not measured_s.size or not bias(low) < 0.0 < bias(high):
        return float("nan")
    found = numerics.bisect(lambda log_factor: bias(log_factor) < 0.0, low, high, width=3e-29)
    return float(np.exp(numerics.arithmetic(*found)))


def left_out(factor_of, studies, counted):
    """For every row the factor that `factor_of(rows)` finds from the counted rows of all other studies."""
    studies, counted = np.asarray(studies), np.asarray(counted, bool)
    by_study = {study: factor_of(counted & (studies != study)) for study in dict.fromkeys(studies.tolist())}
    return np.array([by_study[study] for study in studies.tolist()])


def summary(errors):
    """{rows, median, p90, far, worst} of |errors|; NaN without rows."""
    size = np.abs(np.asarray(errors, float))
    size = size[np.isfinite(size)]
    if not size.size:
        return {"rows": 0, "median": np.nan, "p90": np.nan, "far": 0, "worst": np.nan}
    p90 = float(np.percentile(size, 90.0))
    far = int((size > FAR).sum())
    return {"rows": size.size, "median": float(np.median(size)), "p90": p90, "far": far, "worst": float(size.max())}


def pairs(groups):
    """[(i, j)], i < j, of rows of the same group."""
    return [(i, j) for i, j in itertools.combinations(range(len(groups)), 2) if groups[i] == groups[j]]


def ratios(measured, predicted, which):
    """(measured, predicted) ratios of the pairs `which`, the larger measured value over the smaller."""
    found = [(i, j) if measured[i] >= measured[j] else (j, i) for i, j in which]
    ratio = [(measured[i] / measured[j], predicted[i] / predicted[j]) for i, j in found]
    return np.array(ratio, float).reshape(-1, 2).T


def order(measured, predicted, which):
    """{pairs, agree: share in the measured order, tau: Kendall's, (concordant - discordant) / pairs}.

    Pairs measured equal are not counted; a pair predicted equal agrees by half.
    """
    signs = [np.sign(measured[i] - measured[j]) * np.sign(predicted[i] - predicted[j]) for i, j in which]
    signs = [sign for sign, (i, j) in zip(signs, which, strict=True) if measured[i] != measured[j]]
    if not signs:
        return {"pairs": 0, "agree": np.nan, "tau": np.nan}
    tau = float(np.mean(signs))
    return {"pairs": len(signs), "agree": 0.5 * (1.0 + tau), "tau": tau}


def statistics(ds):
    """{name: list of dicts} of all that is said of a Dataset of `validate`.

    "classes", "engines" and "studies" by `by_group`; `excluded`; over the complete systems "errors" by group, "ratios"
    within a study, "order" and "bias" by metric.
    """
    complete = ds["complete"].values
    kinds = {"left_out": "left_out", "fitted": "", "unfitted": "unfitted", "roofline": "roofline_left_out"}
    groups = {"complete": complete, "incomplete": ~complete}
    groups |= {f"metric {x}": complete & (ds["metric"].values == x) for x in dict.fromkeys(ds["metric"].values)}
    groups |= {f"hardware {x}": complete & (ds["hardware"].values == x) for x in dict.fromkeys(ds["hardware"].values)}
    errors = []
    for group, which in groups.items():
        if which.any():
            line = {"group": group}
            for kind, prefix in kinds.items():
                found = summary(ds[f"{prefix}_error".lstrip("_")].values[which])
                line |= {"rows": int(which.sum())} | {f"{kind}_{k}": v for k, v in found.items() if k != "rows"}
            errors.append(line)
    found = {name: by_group(ds, key, known) for name, key, known in _GROUPS}
    return found | {"excluded": excluded(ds), "errors": errors, **_compared(ds), "bias": _bias(ds)}


_GROUPS = (("classes", "class", tuple(CLASSES)), ("engines", "engine", ()), ("studies", "study", ()))


def seconds(ds, name):
    """A value as a time: larger is slower."""
    return 1.0 / _speed(ds, name)


def counted(ds):
    """Whether a system is counted: its source gives all that matters, and there is a prediction."""
    return ds["complete"].values & np.isfinite(ds["unfitted"].values)


def excluded(ds):
    """[{class, reason, rows}] of the systems that are not counted, and of what the catalog cannot describe."""
    found: dict = {}
    for kind, why, complete, ok in zip(*(ds[x].values.tolist() for x in ("class", "why", "complete")), counted(ds)):
        if not ok:
            key = kind, "no finite prediction" if complete else why
            found[key] = found.get(key, 0) + 1
    for why in ds["left_aside_why"].values.tolist():
        found["", why] = found.get(("", why), 0) + 1
    return [{"class": kind, "reason": why, "rows": n} for (kind, why), n in found.items()]


def by_group(ds, key, known=()):
    """[statistics of the counted systems of a group] by a coordinate, groups in the order of `known`, and of all.

    `rows` and how many are `counted`; `median`, `p90` of |predicted / measured - 1|, and `bias`, the geometric mean of
    predicted over measured time, without a factor; the same with one software factor (`one_`), and with one for each
    engine (`engine_`), the study itself left out; of peak rates (`roofline_`). Pairs of one study and metric: `ratio`,
    the median |log| of predicted over measured ratio, and `order`, the share as measured. `within_1`, `within_2`: share
    within one and two `uncertainty` of the prediction; `printed_1`, `printed_2` the same of `kernel_uncertainty`.
    """
    values, ok = ds[key].values, counted(ds)
    names = [name for name in dict.fromkeys([*known, *values.tolist()]) if (values == name).any()]
    return [_group(ds, name, values == name, ok) for name in names] + [_group(ds, "all", np.ones(len(ok), bool), ok)]


_KINDS = {"": "unfitted", "one_": "left_out", "engine_": "by_engine_left_out", "roofline_": "roofline_left_out"}


def _group(ds, name, which, ok):
    ok = which & ok
    measured, predicted = seconds(ds, "measured"), seconds(ds, "unfitted")
    line = {"group": name, "rows": int(which.sum()), "counted": int(ok.sum())}
    for prefix, of in _KINDS.items():
        found = summary(ds[f"{of}_error"].values[ok])
        line |= {f"{prefix}{x}": found[x] for x in ("median", "p90")}
        line[f"{prefix}bias"] = _geometric(seconds(ds, of)[ok] / measured[ok])
    keys = zip(ds["study"].values.tolist(), ds["metric"].values.tolist(), strict=True)
    within = pairs([of if counts else i for i, (of, counts) in enumerate(zip(keys, ok, strict=True))])
    x, y = ratios(measured, predicted, within)
    line |= {"pairs": len(within), "ratio": float(np.median(np.abs(np.log(y / x)))) if len(within) else np.nan}
    line["order"] = order(measured, predicted, within)["agree"]
    off = np.abs(np.log(predicted / measured))[ok]
    for prefix, of in (("within", "uncertainty"), ("printed", "kernel_uncertainty")):
        for n in (1, 2):
            line[f"{prefix}_{n}"] = float(np.mean(off <= n * ds[of].values[ok])) if ok.any() else np.nan
    return line


def _geometric(values):
    return float(np.exp(np.mean(np.log(values)))) if len(values) else np.nan


def _speed(ds, name):
    """A value as a speed: larger is faster."""
    rate = np.array([METRICS[metric].rate for metric in ds["metric"].values])
    return np.where(rate, ds[name].values, 1.0 / ds[name].values)


def _compared(ds):
    """Ratios of two systems of one study, and the order of all of one metric: without any factor."""
    measured = _speed(ds, "measured")
    metric, study, complete = (ds[name].values.tolist() for name in ("metric", "study", "complete"))
    of_pairs, of_order = [], []
    for kind, name in (("model", "unfitted"), ("roofline", "roofline")):
        predicted = _speed(ds, name)
        for among, of in (("complete", [c or None for c in complete]), ("all", [True] * len(complete))):
            groups = [(study[i], metric[i]) if of[i] else ("", i) for i in range(len(of))]
            within = pairs(groups)
            x, y = ratios(measured, predicted, within)
            of_pairs.append({"by": kind, "systems": among, "pairs": len(x)} | _of_ratios(y / x - 1.0))
        for one in dict.fromkeys(metric):
            which = pairs([m if m == one and c else i for i, (m, c) in enumerate(zip(metric, complete))])
            found = order(measured, predicted, which)
            if found["pairs"]:
                of_order.append({"by": kind, "metric": one, **found})
    return {"ratios": of_pairs, "order": of_order}


def _of_ratios(errors):
    found = summary(errors)
    return {name: found[name] for name in ("median", "p90", "far")}


def _bias(ds):
    """Geometric mean of predicted over measured speed by metric, complete systems, without and with the factor."""
    measured, complete = _speed(ds, "measured"), ds["complete"].values
    found = []
    for one in dict.fromkeys(ds["metric"].values.tolist()):
        which = complete & (ds["metric"].values == one)
        if which.any():
            ratio = {k: np.exp(np.mean(np.log(_speed(ds, k) / measured)[which])) for k in ("unfitted", "predicted")}
            found.append({"metric": one, "rows": int(which.sum())} | {k: float(v) for k, v in ratio.items()})
    return found


def pair_rows(ds):
    """Pairs of systems of one study and metric: [{faster, slower, measured, predicted, error}]."""
    measured, predicted = _speed(ds, "measured"), _speed(ds, "unfitted")
    names = ds["system"].values.tolist()
    which = pairs(list(zip(ds["study"].values.tolist(), ds["metric"].values.tolist())))
    found = []
    for i, j in which:
        i, j = (i, j) if measured[i] >= measured[j] else (j, i)
        x, y = measured[i] / measured[j], predicted[i] / predicted[j]
        found.append({"faster": names[i], "slower": names[j], "measured": x, "predicted": y, "error": y / x - 1.0})
    return found
