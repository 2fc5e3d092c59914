"""How well predictions agree with measurements: errors, a fitted factor, ratios, order."""

import itertools

import numpy as np

from .. import numerics
from .systems import METRICS

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
    """{name: list of dicts}: "errors" by group, "ratios" within a study, "order" by metric, "bias" by metric."""
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
    return {"errors": errors, **_compared(ds), "bias": _bias(ds)}


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
