"""Axes that follow from the chips: sizes of an instance, how they may be split, and what the checkpoint allows.

A split that the shape of the model or the links refuse, whatever the load, is in none of them.
"""

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np

from ...errors import InputError
from ...evaluation.servers import points
from ...formulas import roofline
from ...results.dataset import model_of
from ...serving.constraints import CONSTRAINTS, USES, Case
from ...serving.instances import steps
from ...specs import trees
from ...specs.records import RATES

MTP = (0, 1, 2, 3)  # draft tokens a step, of a model that comes with a module that makes them
LAYOUT = ("tp", "moe_tp", "ep", "sp", "pp")  # sizes that are derived, and that a user may narrow
NODE = 8  # chips: smaller instances of a pool leave more of the chips than one of the other pool is made of
LARGEST = 128  # chips of an instance that divides no number of chips
# Uses of weights by which a precision is one of a checkpoint: those of products, and the others.
PRODUCTS, OTHERS = ("dense", "expert", "shared"), ("weight", "head", "absorbed")
ONE = {"sequences": ("", 1.0), "context": ("", 1.0), "spread": ("", 0.0)}  # load of a step
COMPUTED = ("bf16", "fp8")  # rates at which weights of another width are computed too, once they are widened


def divisors(n):
    """Whole numbers that divide `n`, in order."""
    return [d for d in range(1, n + 1) if n % d == 0]


class Shape:
    """A model on some hardware: which sizes split it. `space`: any one with this model and hardware, of one label each
    or of several, whose rows are read."""

    def __init__(self, space):
        self.space, self.model = space, trees.mapped(np.float64, model_of(space))
        self.experts = int(self.model.n_routed_experts or 0)
        self.layers = int(self.model.num_hidden_layers)
        self.drafts = bool(self.model.num_nextn_predict_layers)
        self.moe = self.layers > self.model.first_k_dense_replace
        self.known: dict = {}  # {scale-up domain, chips, what is given: splits}

    def sizes(self, hardware, chips):
        """Sizes of an instance that divide `chips` and are a part of a scale-up domain or whole ones."""
        domain = self._domain(hardware)
        return [n for n in divisors(chips) if n <= domain or n % domain == 0]

    def every_size(self, hardware, most=LARGEST):
        """Sizes of an instance of at most so many chips: powers of two, of chips up to a domain and of domains."""
        domain = self._domain(hardware)
        inside = [2**i for i in range(domain.bit_length()) if 2**i <= domain] + [domain]
        beyond = [domain * 2**i for i in range(1, 20)]
        return sorted({n for n in (*inside, *beyond) if n <= most})

    def left_over(self, hardware, chips, sizes):
        """Sizes of an instance that has all that others of these sizes, of `NODE` chips or more, leave of the chips."""
        domain = self._domain(hardware)
        left = {chips - n * size for size in sizes if size >= NODE for n in range(1, chips // size + 1)}
        return sorted(n for n in left if 0 < n <= LARGEST and (n <= domain or n % domain == 0))

    def _domain(self, hardware):
        return max(round(self.space.rows["hardware"][hardware]["scale_up_domain"]), 1)

    def fits(self, hardware, precision, chips):
        """Whether weights, spread evenly over the chips, are less than what may be used of their memory."""
        return self.weight_bytes[precision] / chips < self.room_bytes(hardware)

    def room_bytes(self, hardware):
        """What may be used of the memory of a chip [B]."""
        reserve = self.space.fixed.get("memory_reserve", 0.0)
        return (1.0 - reserve) * self.space.rows["hardware"][hardware]["hbm_bytes"]

    @functools.cached_property
    def weight_bytes(self):
        """{precision: weights of all chips, and what an engine keeps of one [B]}."""
        axes = {"precision": self.space.labels("precision")}
        first = {axis: values[0] for axis, values in self.space.axes.items() if axis not in axes}
        fixed = {name: x for name, x in self.space.fixed.items() if name not in axes}
        space = dataclasses.replace(self.space, fixed=fixed).with_axes(axes, first)
        one = points.layouts_of(space).evaluated(steps.decode_at(), ONE, names=("held_bytes",))["held_bytes"]
        held = np.broadcast_to(np.ravel(one[1]), len(axes["precision"]))
        return dict(zip(axes["precision"], held.tolist(), strict=True))

    def splits(self, hardware, chips, given):
        """[{"pp": stages, "tp": [...], "moe_tp": [...], "sp": [...]}] of an instance, none that masks itself.

        Stages are whole scale-up domains, or the whole instance is one. `given` {name of `LAYOUT`: values} narrows the
        sizes, and stages of any number of chips are looked at where `pp` is among them.
        """

        key = self._domain(hardware), chips, tuple((name, tuple(values)) for name, values in given.items())
        if key not in self.known:
            self.known[key] = self._splits(hardware, chips, given)
        return self.known[key]

    def _splits(self, hardware, chips, given):
        def wanted(name, values):
            return [x for x in values if name not in given or x in given[name]]

        found = []
        stages = [p for p in divisors(chips) if p <= self.layers and chips % (p * self._domain(hardware)) == 0]
        stages = [p for p in divisors(chips) if p <= self.layers] if "pp" in given else stages or [1]
        for pp in wanted("pp", stages):
            cards = divisors(chips // pp)
            tp = wanted("tp", [t for t in cards if self._holds(hardware, chips, pp, t, 1, "tp", "shared_tp")])
            moe_tp = [m for m in cards if self._expert_cards(chips // pp // m, given)] if self.moe else [1]
            moe_tp = [m for m in moe_tp if self._holds(hardware, chips, pp, 1, m, "moe_tp")]
            sp = wanted("sp", sorted({s for t in tp for s in divisors(t)}))
            split = {"tp": tp, "moe_tp": wanted("moe_tp", moe_tp), "sp": sp}
            if all(split.values()):
                found.append({"pp": pp} | split)
        return found

    def _expert_cards(self, ep, given):
        return ep <= self.experts and ("ep" not in given or ep in given["ep"])

    def _holds(self, hardware, chips, pp, tp, moe_tp, *names):
        """Whether constraints on a split hold: those of these names, and of the links."""
        row = self.space.rows["hardware"][hardware]
        whole = {"chips": chips, "tp": tp, "moe_tp": moe_tp, "shared_tp": tp, "pp": pp}
        counts = SimpleNamespace(**{name: np.int32(n) for name, n in whole.items()})
        point = SimpleNamespace(
            model=self.model, hardware=SimpleNamespace(scale_up_domain=np.float64(row["scale_up_domain"]))
        )
        case = Case(point, SimpleNamespace(counts=counts))
        return all(bool(CONSTRAINTS[name].holds(case)) for name in (*names, "topology"))

    def precisions(self, hardware, row, names):
        """Of `names`, precisions whose rates the chip has and whose weights are those of `row`, the checkpoint's own.

        Weights as stored, computed at the rate of their format, in bf16, or, of experts and FFNs, at the fp8 rate.
        """
        rows = self.space.rows["precision"]
        own = [name for name in names if _same_weights(rows[name], rows[row])]
        return [name for name in own if self.has_rates(hardware, name)]

    def has_rates(self, hardware, precision):
        """Whether the chip has the compute rates of a precision."""
        row, chip = self.space.rows["precision"][precision], SimpleNamespace(**self.space.rows["hardware"][hardware])
        return all(bool(roofline.has_rate(chip, np.int32(row[f"{use}_rate"]))) for use in USES)


def _same_weights(row, own):
    if any(row[f"{use}_bytes"] != own[f"{use}_bytes"] for use in (*PRODUCTS, "weight")):
        return False
    rates = {use: (RATES[int(row[f"{use}_rate"])], RATES[int(own[f"{use}_rate"])]) for use in (*PRODUCTS, *OTHERS)}
    return all(
        rate in (as_own, *(COMPUTED if use in PRODUCTS else COMPUTED[:1])) for use, (rate, as_own) in rates.items()
    )


def deployments(engine, engines):
    """Rows of the engines that are an engine: its own, and those of other ways to deploy it."""
    return list(dict.fromkeys([engine, *engines[engine].get("deployments", ())]))


def nearest(chips, usable):
    """The number of chips nearest to `chips` for which `usable(n)` holds: as few more, or less, as there can be."""
    for away in range(1, max(2 * chips, 1024) + 1):
        for n in (chips - away, chips + away):
            if n > 0 and usable(n):
                return n
    raise InputError(f"chips: {chips}: no number near it can be used")
