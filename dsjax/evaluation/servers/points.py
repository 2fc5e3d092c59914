"""Variables of servers at points of a space: what their steps and their queues give, masks, parts of the time."""

import collections
import dataclasses
import functools
import math
import types

import numpy as np

from ...formulas import constraints, metrics, roofline
from ...serving.instances import answer, steps, study, table
from ...serving.server import goodput
from ...specs import trees
from ...specs.variables import MEASURES, OF_DISTRIBUTIONS, WORDED
from ..caches import remembered
from . import pieces, tables
from .laws import LENGTHS, LOADS, Laws

LAYOUT = ("chips", "dp", "ep")  # variables of a layout, whatever its load
OF_PARTS = {"bottleneck", "mfu", "mbu", *(name for name in steps.PARTS if not name.startswith("ideal"))}
BLOCK = 2**18  # points that a search looks at before it takes the best of them
OF_REQUESTS = set(LOADS) - {"host_bytes_per_s"}  # axes that decide no table and no number beside the requests
HIDDEN = {"phase", "batching", "length_law", "isl", "osl", "concurrency", *study.SERVER.requests}


class Points:
    """Points of a space of servers, or samples of the one that it has."""

    def __init__(self, space, names, varied=None, samples=None):
        self.space, self.names, varied = space, names, varied or {}
        self.sizes = dict(space.sizes) if samples is None else {"sample": samples}
        self.open = "requests_per_s" in space.axes or "requests_per_s" in space.fixed
        self.laws = Laws(space, varied)
        bounded = {key.split("_", 1)[1] for key in space.bounds}
        self.fields = tuple(sorted(bounded - set(MEASURES) - HIDDEN))
        self.rows: dict = {}  # {whether prompts are cut: record of rows that points share}
        self.needed = {*names, *(name.removeprefix("ok_") for name in names), *(bounded if "feasible" in names else ())}
        self.tables(varied)

    def tables(self, varied):
        """Tables of the steps."""
        layouts = layouts_of(self.space, varied, LENGTHS if self.laws.by_sample else "sample")
        self.decode = tables.Decode(layouts, self.laws, self.fields, self.left_out)
        self.prompts = tables.Prompts(layouts, self.laws, self.decode.groups, self.left_out)
        self.decode.found["ok_sp"] = self.prompts.found["ok_sp"]  # the sequences of prompts alone are split

    @property
    def left_out(self):
        """What variables of steps that are not needed begin with."""
        return () if self.needed & OF_PARTS else ("part/",)

    # ---- over the space

    def arrays(self, compiled=None):
        """{variable: array} of the names: over the axes of the layouts, or over all of the space."""
        found = {name: array for name, (dims, array) in self.of_layouts.items() if name in self.names}
        shape = tuple(self.sizes.values())
        flat = {name: np.empty(math.prod(shape), _kind(name)) for name in self.names if name not in found}
        for ids, chunked in self.batches(np.arange(math.prod(shape))) if flat else ():
            many = len(ids) >= pieces.COMPILED if compiled is None else compiled

            def fill(part, chunked=chunked, many=many):
                for name, values in self.at(part, chunked, self.quantiles, many).items():
                    if name in flat:
                        flat[name][part] = values

            collections.deque(pieces.each(fill, pieces.split(ids), many), maxlen=0)
        return found | {name: values.reshape(shape) for name, values in flat.items()}

    @functools.cached_property
    def of_layouts(self):
        """{variable: (dims, array)} of the layouts alone."""
        wanted = {*LAYOUT, *(f"ok_{name}" for name in study.OF_STEPS)}
        hidden = {tables.LOADS, LENGTHS}
        return {name: x for name, x in self.decode.found.items() if name in wanted and not hidden & set(x[0])}

    @property
    def quantiles(self):
        """Whether quantiles are needed."""
        return bool(self.needed & {*OF_DISTRIBUTIONS})

    def program(self, chunked, quantiles):
        """Function of `answer.Points`."""
        return _program(chunked, self.open, quantiles)

    # ---- for searches

    def screened(self, names, count):
        """(flat indices, values of the names) of the points that means do not refuse, for each way of batching.

        A name that is a quantile is NaN there. `count({"ok_<constraint>": mask})` for every piece. `BLOCK` points at a
        time: none of what is long is held for all of them.
        """
        total = math.prod(self.sizes.values())
        many = total >= pieces.COMPILED

        def looked_at(part, chunked):
            values = self.at(part, chunked, False, many)
            ok, none = values["feasible"], np.full(len(part), np.nan)
            masks = {name: x for name, x in values.items() if name.startswith("ok_")}
            return masks, (part[ok], *(values.get(name, none)[ok] for name in names))

        for start in range(0, total, BLOCK):
            for ids, chunked in self.batches(np.arange(start, min(start + BLOCK, total))):
                found = []
                for masks, columns in pieces.each(lambda x, how=chunked: looked_at(x, how), pieces.split(ids), many):
                    count(masks)
                    found.append(columns)
                flat, *columns = (np.concatenate(x) for x in zip(*found, strict=True))
                self.screen = flat, chunked, many
                yield flat, columns

    def in_full(self, places, names):
        """([values of the names], whether they are feasible) of places among the points that `screened` gave last."""
        flat, chunked, many = self.screen
        parts = pieces.each(lambda x: self.at(flat[x], chunked, self.quantiles, many), pieces.split(places), many)
        columns = list(zip(*([values[name] for name in (*names, "feasible")] for values in parts), strict=True))
        *columns, ok = (np.concatenate(x) for x in columns)
        return columns, ok

    def batches(self, ids):
        """[(those of some flat indices, whether prompts are cut)] of each way of batching that they have."""
        if "batching" not in self.sizes:
            return [(ids, study.BATCHING[self.laws.batching[0]])]
        inner = math.prod(list(self.sizes.values())[list(self.sizes).index("batching") + 1 :])
        label = ids // inner % self.sizes["batching"]
        found = [(ids[label == i], study.BATCHING[name]) for i, name in enumerate(self.laws.batching)]
        return [(own, chunked) for own, chunked in found if len(own)]

    # ---- at points

    def at(self, ids, chunked, quantiles, compiled):
        """{variable: values} at the points of these flat indices; bounds of quantiles only where these are wanted."""
        program = self.program(chunked, quantiles)
        places = np.unravel_index(ids, tuple(self.sizes.values())) if self.sizes else ()
        index = dict(zip(self.sizes, places, strict=True))
        law, asked = self.laws.of(index, len(ids)), self.laws.asked(index, len(ids))
        limits = self.limits(law)
        if compiled:
            requests = self.requests(asked) | {"limits": limits}
            values = pieces.run(program, *self.shared(index, law, asked, chunked), requests)
        else:
            values = dict(program(self.points(index, law, asked, chunked)._replace(limits=limits)))
        values |= self.derived(values, index, law, asked)
        if self.needed & OF_PARTS:
            values |= self.parts(values, index, law)
        if any(name == "feasible" or name.startswith("ok_") for name in self.names):
            values |= self.masks(values, index, law, asked)
        return values

    def limits(self, law):
        """`goodput.Limits` of the grid at points: of each time the least that it asks for, of whatever percentile."""
        found = {}
        for key, bound in self.space.bounds.items():
            name = "tpot" if key == "min_tps_per_user" else key.removeprefix("max_").partition("_")[0]
            if name in goodput.Limits._fields and (key.startswith("max_") or name == "tpot"):
                limit = constraints.at_length(bound, self.laws.numbers["isl"][law])
                if key.startswith("min_"):
                    with np.errstate(divide="ignore"):  # no tokens at least are no limit
                        limit = 1.0 / np.asarray(limit, float)
                found[name] = np.minimum(found.get(name, np.inf), np.broadcast_to(limit, len(law)))
        return goodput.Limits(**found)

    def shared(self, index, law, asked, chunked):
        """(Record of rows that points share, row of every point): of all axes that decide more than the requests.

        Where there are too many of them every point has a row of its own.
        """
        axes = {axis: n for axis, n in self.sizes.items() if axis not in OF_REQUESTS}
        if not pieces.shares(axes):
            return pieces.shared(self.points(index, law, asked, chunked)), np.arange(len(law))
        if chunked not in self.rows:
            rows = math.prod(axes.values())
            places = np.unravel_index(np.arange(rows), tuple(axes.values())) if axes else ()
            own = dict(zip(axes, places, strict=True))
            of = self.laws.of(own, rows), self.laws.asked(own, rows)
            self.rows[chunked] = pieces.shared(self.points(own, *of, chunked))
        place = [index[axis] for axis in axes]
        return self.rows[chunked], np.ravel_multi_index(place, tuple(axes.values())) if axes else 0 * law

    def requests(self, asked):
        """{field of `answer.Points`: numbers} that the requests of points decide."""
        own = {name: asked[name] for name in ("max_batch", "prefix_tokens", "reserved_output")}
        load = asked["requests_per_s" if self.open else "concurrency"]
        return own | {"asked": load, "rounds": asked["requests_per_user"]}

    def number(self, found, name, index, law, variant=0):
        """A variable of a table at points, as floats."""
        return np.asarray(tables.taken(found[name], index, law, variant, len(self.laws)), float)

    def steps(self, index, law, asked, chunked):
        """`table.Table` of points."""
        decode, prompts = self.decode.found, self.prompts.found
        together, more, one, one_more = (self.number(prompts, "seconds", index, law, i) for i in range(4))
        pairs = self.laws.pairs[law]
        added = (tables.PAIRS - 1.0) * pairs[:, None] * self.prompts.nodes
        decode_s, products = self.number(decode, "seconds", index, law), {}
        position = tables.first(self.number(decode, "position_bytes", index, law))
        if chunked:
            core = decode_s - self.number(decode, "products", index, law)
            products = {"decode_core_s": core, "products_s": self.number(prompts, "products", index, law)}
        return table.Table(
            decode_s=decode_s,
            prompts_s=together,
            prompts_pair_s=(more - together) / added,
            one_s=one,
            one_pair_s=(one_more - one) / added,
            pairs=pairs,
            prompt_s=self.number(prompts, "prompt_s", index, law),
            read_s=self.laws.read_back[law] * position / asked["host_bytes_per_s"],
            prompt=self.laws.prompt[law],
            groups=self.number(decode, "dp", index, law),
            decode_tokens=self.number(decode, "tokens", index, law),
            **products,
        )

    def points(self, index, law, asked, chunked):
        """`answer.Points` of points."""
        steps_of, decode = self.steps(index, law, asked, chunked), self.decode.found
        position = tables.first(self.number(decode, "position_bytes", index, law))
        state = 0.0 * position
        if "state_bytes" in decode:
            state = tables.first(self.number(decode, "state_bytes", index, law))
        live = {"decode_live": (decode, steps_of.decode_s), "prompts_live": (self.prompts.found, steps_of.prompts_s)}
        return answer.Points(
            table=steps_of,
            load=self.laws.load(law, self.number(decode, "gained", index, law)),
            budget=self.laws.budget[law],
            **self.requests(asked),
            spare_bytes=self.number(decode, "spare_bytes", index, law),
            groups=steps_of.groups,
            room_bytes=self.number(decode, "room_bytes", index, law),
            held_bytes=tables.first(self.number(decode, "held_bytes", index, law)),
            position_bytes=position,
            state_positions=state / position,
            **{
                name: tables.along_nodes(self.number(found, "live_bytes", index, law), like.shape[-1])
                for name, (found, like) in live.items()
            },
        )

    def derived(self, values, index, law, asked):
        """Variables that follow from others, and those of the layouts."""
        del asked
        found = {name: tables.taken(self.decode.found[name], index, law) for name in LAYOUT}
        found |= {"ttft": values["ttft_mean"], "tpot": values["tpot_mean"], "tps_per_user": 1.0 / values["tpot_mean"]}
        found["tps_per_chip"] = values["tps_total"] / found["chips"]
        found["batch_total"] = values["requests_per_s_served"] * values["latency_mean"]
        names = ("usd_per_hour", "watts")
        hardware = types.SimpleNamespace(**{name: self.number(self.decode.found, name, index, law) for name in names})
        with np.errstate(divide="ignore", invalid="ignore"):
            return found | metrics.per_token(hardware, found["tps_per_chip"])

    def parts(self, values, index, law):
        """Where a step of decode with its share of prompts goes: parts of either step, by their shares of the time."""
        share, whole = values["prefill_share"], values["step_time"]
        groups = self.number(self.decode.found, "dp", index, law)
        tokens = np.minimum(self.laws.prompt[law], self.laws.budget[law] * groups)
        decode = self.shares(self.decode.found, np.maximum(values["step/sequences"], 1.0), index, law)
        prompts = self.shares(self.prompts.found, tokens, index, law)
        mean = {name: (1.0 - share) * decode[name] + share * prompts[name] for name in steps.PARTS}
        return self.of_shares(whole, mean)

    @staticmethod
    def of_shares(whole, mean):
        """Variables of a step of so many seconds by its parts' shares."""
        found = {name: whole * x for name, x in mean.items()}
        found |= {"mfu": mean["ideal_compute"], "mbu": mean["ideal_memory"]}
        return found | {"bottleneck": metrics.largest([mean[name] for name in roofline.EXPOSED])}

    def shares(self, found, load, index, law):
        """{part of a step: its share of the step} at a load."""
        parts = {name: self.number(found, f"part/{name}", index, law) for name in steps.PARTS}
        parts = {name: table.interpolated(x, load) if x.ndim > 1 else x for name, x in parts.items()}
        total = sum(parts[name] for name in roofline.EXPOSED)
        return {name: x / total for name, x in parts.items()}

    def masks(self, values, index, law, asked):
        """Masks of steps, of the server and of bounds, and all of them together."""
        found = self.masks_of_steps(values, index, law)
        found |= {name: x for name, x in values.items() if name.startswith("ok_")}
        given = {name: x[law] for name, x in self.laws.numbers.items()} | asked | values
        given |= {name: self.number(self.decode.found, f"field/{name}", index, law) for name in self.fields}
        bounds = {key: bound for key, bound in self.space.bounds.items() if key.split("_", 1)[1] in given}
        if bounds:
            bounded = constraints.bounded(given, trees.mapped(np.float64, bounds))
            found |= {f"ok_{name}": mask for name, mask in bounded.items()}
        return found | {"feasible": np.logical_and.reduce(list(found.values()))}

    def masks_of_steps(self, values, index, law):
        """Masks of the steps of the server."""
        names, load = [f"ok_{name}" for name in study.OF_STEPS], values["step/sequences"]
        return {name: self.mask(self.decode.found[name], load, index, law) for name in names}

    @staticmethod
    def mask(source, sequences, index, law):
        """A mask of a step at points: at the next load of the table beyond the sequences that decode."""
        mask = tables.taken(source, index, law)
        if mask.ndim == 1:
            return mask
        node = np.ceil(table.PER_OCTAVE * np.log2(np.maximum(np.nan_to_num(sequences, nan=1.0), 1.0))).astype(int)
        return np.take_along_axis(mask, np.minimum(node, mask.shape[-1] - 1)[:, None], -1)[:, 0]


def layouts_of(space, varied=(), along="sample", prefix=""):
    """`tables.Layouts` of a space of servers, or of a pool of it: its axes without those of the requests."""
    axes = {name: values for name, values in space.axes.items() if name not in HIDDEN}
    fixed = {name: value for name, value in space.fixed.items() if name not in HIDDEN}
    varied = {key: x for key, x in dict(varied).items() if key[1] not in HIDDEN}
    return tables.Layouts(dataclasses.replace(space, axes=axes, fixed=fixed, bounds={}), prefix, varied, along)


def _kind(name):
    return bool if name == "feasible" or name.startswith("ok_") else np.int8 if name in WORDED else float


@remembered(64)
def _program(chunked, open_, with_quantiles):
    return functools.partial(answer.variables, chunked=chunked, open_=open_, with_quantiles=with_quantiles)
