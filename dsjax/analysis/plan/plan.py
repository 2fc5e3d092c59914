"""`dsjax.plan`: what to run on some chips, for lengths, limits and a demand in a user's words."""

import dataclasses
import json
import math
from collections.abc import Sequence

import xarray as xr

from ... import advance
from ...arguments import typed
from ...errors import InputError, NothingFeasible
from ...options import option
from ...specs.variables import MOST_LOAD
from ...types import Amount, Named, Names, Path
from ...units import domain, number
from .. import remedies
from ..fleet import demand
from . import aggregated, answers, ends, fleets, helps, instances, pieces
from . import disaggregated as two_pools
from .axes import nearest

MOST_LAYOUTS = 2**18  # whose tables are held at once
TOKENS, CHIPS, SPEED = "tokens", "chips", "speed"  # what a plan is best at
WHOLE = domain("1", low=1, open_low=False, integer=True)


@dataclasses.dataclass(frozen=True)
class Question(demand.Question):
    """A `demand.Question` that may have no demand: then as many users as keep the limits are asked for.

    `wanted`: what is best, of a demand in requests per second the fewest chips (`CHIPS`), of a number of users who ask
    again the quickest answers (`SPEED`), without either the most tokens (`TOKENS`). A demand without a limit on the
    first token has one on the load: else the fewest chips would be just as many as keep up, and requests wait for ever.
    """

    wanted: str = TOKENS

    @property
    def limits(self):
        """{"max_<variable>": SI number} of the limits that are given, at the statistic."""
        found = super().limits
        return found | ({"max_utilisation": MOST_LOAD} if self.demanded and self.asked["max_ttft"] is None else {})

    @property
    def demanded(self):
        """Whether requests come at a rate."""
        return self.wanted == CHIPS

    @property
    def load(self):
        """{name: number} of what a space of servers fixes."""
        return super().load | {"requests_per_user": 0}


@typed
def plan(
    model: Path = "DeepSeek-V3",
    hardware: Names = "H20",
    chips: int | None = None,
    *,
    isl: Amount | None = None,
    osl: Amount | None = None,
    tps_per_user: Amount | None = None,
    ttft: Amount | None = None,
    tpot: Amount | None = None,
    percentile: int | str = 90,
    requests_per_s: Amount | None = None,
    concurrency: Amount | None = None,
    engine: str = "generic",
    nic: str = pieces.NIC,
    precision: Names | None = None,
    disaggregated: bool = True,
    axes: Named | None = None,
    fixed: Named | None = None,
    settings: Named | None = None,
    catalogs: Sequence[Path] = (),
) -> xr.Dataset:
    """What to run on `chips` of a hardware, as a Dataset over `rank`, best first.

    `hardware`: names of rows, "any" all of the catalog. Requests of `isl` and `osl` tokens in the mean. Limits:
    `tps_per_user` (or `tpot` [s]) and `ttft` [s] hold at the `percentile` of the requests: 50, 90, 99 or "mean".
    Without `requests_per_s` the chips serve as many users as keep the limits, who ask again when the answer is
    there, and the most tokens per second and chip come first; with it the fewest chips, of those that are given or of
    as many as it takes, and without `ttft` none is asked more than 85 % of what it takes. With `concurrency` that
    many users ask, and the layout on the `chips`, or on some of them, that answers in the least time comes first.

    Axes follow from the chips (`axes.Shape`): instances of every size that divides them, every tp, moe_tp, ep, dp, sp,
    stages of whole scale-up domains, pipelines and dispatch modes of the `engine`, drafts where the model makes them,
    precisions of the weights that the checkpoint stores (or `precision`), prompts before steps or inside them, users up
    to what the memory holds. `axes` and `fixed` replace or narrow them, or are of the requests (`isl_cv`,
    `cached_fraction`, ...); `settings`, `catalogs` as in `sweep`. The best of every hardware and precision is the best
    of all its layouts, to 0.2 %. Beside them (`disaggregated`) two pools of one hardware and precision, of these sizes
    and with one instance, of 128 chips at most, of all that others of 8 or more leave: every way to share the chips
    out, each pool split as one of those that bounds rank first; of a demand those that take the fewest chips alone,
    with as many instances as both then take.

    Attributes: `asked`, `limits`, `statistic`; `model`, `checkpoint` (why these precisions); `layouts` looked at,
    `possible` of them, `refused` by which mask; `helps`, what a tenth better of one number serves more; `ends`, where
    the best stands at the end of an axis beyond which a better one is; `without`, hardware, or precisions of it, that
    have no answer, and why; `changes`, what was fixed or set beside; `nearest`, or `why`, where there is no answer at
    all; `remarks` on numbers that may be slips.
    """
    given = {"isl": isl, "osl": osl, "requests_per_s": requests_per_s, "concurrency": concurrency}
    given |= {"min_tps_per_user": tps_per_user}
    question = _question(given | {"max_ttft": ttft, "max_tpot": tpot}, percentile)
    if chips is None and not question.demanded:
        if question.wanted == SPEED:
            raise InputError("chips: not given; expected how many the users of concurrency may have")
        raise InputError("chips and requests_per_s: none given; expected one of the two, or both")
    if chips is not None:
        chips = number("chips", chips, WHOLE)
    chosen, catalog = pieces.choice(model, hardware, nic, engine, precision, axes, fixed, settings, catalogs)
    return of(chosen, catalog, question, chips, disaggregated)


def of(chosen, catalog, question, chips, pooled=True):
    """`plan` of names that are read; so many hardware at once that the tables of `MOST_LAYOUTS` layouts are held."""
    shape = pieces.shape_of(chosen)
    has, why = pieces.precisions(chosen, shape, catalog)
    engines, found, looked_at = _engine_rows(chosen, catalog), [], []

    def parts_of(hardware, sizes):
        return pieces.of(chosen._replace(hardware=hardware), shape, has, engines, sizes)

    def own_sizes(chip):
        of_all = question.wanted == TOKENS
        return shape.sizes(chip, chips) if of_all else _sizes(shape, chip, chips)

    def sizes_of_pools(chip):
        found = _sizes(shape, chip, chips)
        left = () if chips is None or question.demanded else shape.left_over(chip, chips, found)
        return sorted({*found, *left} - {chips})

    for hardware in advance.of(_together(chosen.hardware, parts_of(chosen.hardware, own_sizes))):
        one, parts = chosen._replace(hardware=hardware), parts_of(hardware, own_sizes)
        spaces = [pieces.space(part, one, question.load) for part in parts]
        looked_at += spaces
        search = aggregated.Search(instances.Instances(spaces, question.limits), question, chips)
        pools = None
        if pooled:
            of_pools = parts_of(hardware, sizes_of_pools)
            whole = [part for part in of_pools if part.axes.get("pp", [1]) == [1]]
            pools = (fleets if question.demanded else two_pools).Search(one, whole, question, chips)
        found.append(answers.of_searches(search, pools, question, one))
    if not found:
        raise NothingFeasible(_unusable(chosen, shape, has, chips, lambda sizes: parts_of(chosen.hardware, sizes)))
    ds = answers.dataset_of(found, question, chips, chosen, why, looked_at)
    answered = {*zip(ds["hardware"].values.tolist(), ds["precision"].values.tolist(), strict=True)}
    ds.attrs["without"] = json.dumps(_without(chosen, shape, has, answered, own_sizes, parts_of, bool(question.limits)))
    if not ds.sizes["rank"] and not json.loads(ds.attrs["nearest"]):
        ds.attrs["why"] = json.dumps(remedies.nothing_feasible(looked_at[-1]))
    if ds.sizes["rank"]:
        first = {name: x.item() for name, x in ds.isel(rank=0).variables.items()}
        ends_of, axes = ends.of(chosen, first, question)
        ds.attrs["ends"] = json.dumps({axis: {**end._asdict(), "values": axes[axis]} for axis, end in ends_of.items()})
        limited = question.wanted == TOKENS and question.limits
        if first["kind"] == "aggregated" and (limited or question.wanted == SPEED):
            gains = helps.of(chosen, helps.named_of(first), first["concurrency"] / first["instances"], question)
            ds.attrs["helps"] = json.dumps(gains)
    return ds


def _without(chosen, shape, has, answered, sizes_of, parts_of, limited):
    """{why: [names]} of hardware that has no answer, and of precisions without one of hardware that has another."""

    def reason(chip, precisions):
        if not precisions:
            return "no compute rate for it"
        if not any(shape.fits(chip, precision, n) for precision in precisions for n in sizes_of(chip)):
            return "no room for the weights"
        if not any({*precisions} & {*part.axes["precision"]} for part in parts_of((chip,), sizes_of)):
            return "no split"
        return "the limits not kept" if limited else "no room for a request"

    found: dict = {}
    for chip in chosen.hardware:
        known = {precision for of, precision in answered if of == chip}
        if not known:
            found.setdefault(reason(chip, has[chip]), []).append(chip)
        for precision in (chosen.precision or has[chip]) if known else ():
            if precision not in known:
                own = [precision] if precision in has[chip] else []
                found.setdefault(reason(chip, own), []).append(f"{chip} {precision}")
    return found


def _together(hardware, parts):
    """[names of hardware that are looked at together], of those that are in some of the `parts`."""
    layouts = dict.fromkeys(hardware, 0)
    for part in parts:
        each = math.prod(len(values) for axis, values in part.axes.items() if axis != "hardware")
        for chip in part.axes["hardware"]:
            layouts[chip] += each
    found, held = [], 0
    for chip, n in layouts.items():
        if n:
            if not found or held + n > MOST_LAYOUTS:
                found.append(())
                held = 0
            found[-1] += (chip,)
            held += n
    return found


def _engine_rows(chosen, catalog):
    """{engine: row} of those that are looked at."""
    return {name: catalog["engine"][name] for name in chosen.engines}


def _question(asked, percentile):
    """`Question` of arguments as a user gives them."""
    wanted = TOKENS
    if asked["requests_per_s"] is not None:
        wanted = CHIPS
    elif asked["concurrency"] is not None:
        wanted = SPEED
        asked = asked | {"concurrency": number("concurrency", asked["concurrency"], WHOLE)}
    else:
        asked = asked | {"concurrency": 1}
    of = demand.question(asked, percentile, minimize="chips", mixed=False)
    return Question(**{field.name: getattr(of, field.name) for field in dataclasses.fields(of)}, wanted=wanted)


def _sizes(shape, chip, chips):
    """Sizes of instances that need not use all chips, of any number where there is no most."""
    return (
        shape.every_size(chip) if chips is None else sorted({*shape.sizes(chip, chips), *shape.every_size(chip, chips)})
    )


def _smaller(chosen, shape, chips):
    """Where narrower weights than the checkpoint's would fit: the widest of them, and the option that asks for it."""
    fits = [
        (size, -i, precision)
        for i, (precision, size) in enumerate(shape.weight_bytes.items())
        for chip in chosen.hardware
        if shape.has_rates(chip, precision) and shape.fits(chip, precision, chips)
    ]
    if not fits:
        return ""
    size, _, precision = max(fits)
    return f", or {option('precision', precision)}: {size / 1e9:,.0f} GB"


def _unusable(chosen, shape, has, chips, found):
    """Why no instance can be made of the chips, and the nearest number that can be used."""
    names = ", ".join(chosen.hardware)
    lacking = [chip for chip in chosen.hardware if not has[chip]]
    if len(lacking) == len(chosen.hardware):
        asked = f"precision {', '.join(chosen.precision)}" if chosen.precision else "the precisions of the checkpoint"
        return f"hardware: {names} has not the compute rates of {asked} of {chosen.model}; expected others"
    try:
        near = nearest(chips or 1, lambda n: bool(found(lambda chip: shape.sizes(chip, n))))
    except InputError:
        return f"{chosen.model} on {names}: no split of engine {chosen.engines[0]} keeps what axes and fixed values ask"
    least = min(shape.weight_bytes[p] for chip in chosen.hardware for p in has[chip])
    room = max(shape.room_bytes(chip) for chip in chosen.hardware if has[chip])
    if chips is None:
        return f"{chosen.model} on {names}: no split that is looked at; the nearest number of chips is {near}"
    many = f"chips: {chips}: no split of {chosen.model}"
    if chips * room < least:
        sizes = f"{least / 1e9:,.0f} GB of weights in {chips * room / 1e9:,.0f} GB of memory"
        said = f"{many} on {names}: {sizes}; the nearest number that can be used is {near}"
        return f"{said}{_smaller(chosen, shape, chips)}"
    return f"{many} on {names} uses them all; the nearest number that can be used is {near}"
