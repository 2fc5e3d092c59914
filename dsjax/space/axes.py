"""Read [axes] and [fixed] of a grid: labels of rows and policies, numbers, ranges of numbers."""

import collections
import math
import sys

from .. import machine
from ..catalog import names
from ..errors import InputError, unknown
from ..options import entry
from ..specs.variables import MEASURES
from ..units import number
from . import limits, ranges
from .space import numeric_axes

MOST_VALUES = 10_000_000  # of one axis that is held
MOST_SEARCHED = 2_000_000_000  # of one axis of a grid that is searched without being held
MOST_AXES = 32
LISTED = 100  # bytes of a value in a list


EVERY = "all"  # values of an axis of labels: every row of its catalog


class AxisReader:
    """Reader of the [axes] and [fixed] of a grid `file`; `where(section, key)` names the place of a key in errors.

    `catalog` {record: rows} holds what a label may name. `any_size`: True where the grid is searched without being
    held, or the bytes that are free on the disk it is written to.
    """

    def __init__(self, study, catalog, file, where, any_size=False):
        self.study, self.catalog, self.file, self.where, self.any_size = study, catalog, file, where, any_size
        self.numeric = numeric_axes(study)

    def read(self, axes, fixed, faults):
        """({axis: values}, {name: value}) as given -> validated; the defaults of the study are fixed too.

        What is wrong with an axis or a value is kept by `faults`, an `errors.Faults`, and left out.
        """
        if not axes and not fixed:
            faults.errors.append(InputError(f"{self.file}: [axes]: missing or empty; expected at least one axis"))
            faults.tell()
        if not axes:  # one configuration: a grid of one point, along the axis of the first name
            name = "hardware" if "hardware" in fixed else next(iter(fixed))
            axes, fixed = {name: [fixed[name]]}, {k: x for k, x in fixed.items() if k != name}
        if len(axes) > MOST_AXES:
            raise InputError(f"{self.file}: [axes]: {len(axes)} axes; expected at most {MOST_AXES}")
        for name in sorted(axes.keys() & fixed.keys()):
            faults.errors.append(InputError(f"{self.file}: [fixed] {name}: also an axis; expected one of the two"))
        axes = {name: self.every(name, values) for name, values in axes.items()}
        defaults = {name: x for name, x in self.study.data["defaults"].items() if name not in {*axes, *fixed}}
        lengths = self.kept(axes, self.length, faults)
        self.check_points(axes, lengths)
        axes = self.kept({name: axes[name] for name in lengths}, self.axis, faults)
        fixed = self.kept(fixed, lambda name, value: self.value("fixed", name, value), faults)
        return axes, fixed | defaults

    def every(self, name, values):
        """All rows of a catalog, or all choices, where an axis of labels is "all"; else the values as they are."""
        known = self.catalog.get(name, self.study.policies[name].choices if name in self.study.policies else None)
        one = list(values) if isinstance(values, list | tuple) else [values]
        return list(known) if known is not None and one == [EVERY] and EVERY not in known else values

    def kept(self, given, read, faults):
        """{name: read(name, value)} of those that can be read; what is wrong with the others is kept by `faults`."""
        found = {}
        for name, value in given.items():
            with faults.caught():
                found[name] = read(name, value)
        return found

    def axis(self, name, values):
        where = self.where("axes", name)
        if isinstance(values, dict):
            return self.range(where, name, values)
        values = tuple(self.value("axes", name, value) for value in values)
        if len(set(values)) < len(values):
            twice = next(v for v, n in collections.Counter(values).items() if n > 1)
            raise InputError(f"{where}: {twice!r} is there twice; expected distinct values")
        return values

    def length(self, name, values):
        """Number of values of an axis as given, without making them."""
        where = self.where("axes", name)
        meta = self.kind(where, name)
        if isinstance(values, dict):
            if meta is None or set(values) != {"start", "stop", "step"}:
                raise InputError(f"{where}: {values!r}; expected a list of values or numbers {{ start, stop, step }}")
            return self.steps(where, **values) + 1
        if isinstance(values, str) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
            raise InputError(f"{where}: {values!r}; expected a list of values or {{ start, stop, step }}")
        if len(values) == 0:
            raise InputError(f"{where}: empty; expected at least one value")
        return len(values)

    def steps(self, where, start, stop, step):
        for key, x in (("start", start), ("stop", stop), ("step", step)):
            if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= sys.float_info.max:
                raise InputError(f"{where}: {key} = {repr(x)[:40]}; expected a finite number")
        if step <= 0 or stop < start:
            raise InputError(f"{where}: start {start}, stop {stop}, step {step}; expected step > 0 and stop >= start")
        steps = float(stop - start) / step
        most = MOST_SEARCHED if self.any_size is True else MOST_VALUES
        if not steps < most:
            raise InputError(
                f"{where}: {steps:.3g} values do not fit in memory; expected a larger step, for at most {most:,}"
            )
        if abs(steps - round(steps)) > min(1e-2, 1e-9 * max(1.0, steps)):
            last = start + step * math.floor(steps)
            raise InputError(
                f"{where}: step {step} from {start} overshoots stop {stop}; expected stop {last} or {last + step}"
            )
        return round(steps)

    def range(self, where, name, spec):
        """Values of { start, stop, step }, stop included: valid where the first, the second and the last are."""
        start, stop, step = (spec[key] for key in ("start", "stop", "step"))
        n = self.steps(where, start, stop, step)
        for value in {start, start + step * min(n, 1), stop}:
            self.value("axes", name, value)
        meta = self.kind(where, name)
        if accepted := self.study.data["accepts"].get(name):
            return tuple(self.value("axes", name, start + step * i) for i in range(min(n + 1, len(accepted) + 1)))
        return ranges.of(start, stop if meta["integer"] else float(stop), step, n + 1, meta["integer"])

    def check_points(self, axes, lengths):
        """Refuse a grid of which not even one variable fits in the memory that is free, before its axes are made.

        `any_size`, where it is a number of bytes, is the room on a disk, which is as good.
        """
        points, free = math.prod(lengths.values()), machine.available_memory()
        for name, n in lengths.items():
            if not isinstance(axes[name], dict) and LISTED * n > free:
                raise InputError(
                    f"{self.where('axes', name)}: a list of {n:,} values takes {machine.gigabytes(LISTED * n)} and "
                    f"{machine.gigabytes(free)} of memory is free; expected {{ start, stop, step }}, or fewer values"
                )
        disk = self.any_size if self.any_size is not True else math.inf
        if 4 * points > max(free, disk):
            largest = max(lengths, key=lengths.get)
            raise InputError(
                f"{self.file}: [axes]: {points:,} points need more than {machine.gigabytes(4 * points)} and "
                f"{machine.gigabytes(free)} of memory{f' and {machine.gigabytes(disk)} of disk' if disk else ''} is "
                f"free; "
                f"expected a smaller grid: axis {largest} has {lengths[largest]:,} values"
            )

    def kind(self, where, name):
        """Metadata of a numeric axis, None of an axis of labels."""
        if name in self.catalog or name in self.study.policies:
            return None
        side, _, bounded = name.partition("_")
        if name == limits.MARGIN or (side in ("min", "max") and (bounded in MEASURES or bounded in self.numeric)):
            how = entry("limits", name, "...")
            raise InputError(f"{where}: a limit, and no axis; expected it with {how}, or in [constraints]")
        if name not in self.numeric:
            raise unknown(where, "axis", name, [*self.catalog, *self.study.policies, *self.numeric])
        return self.numeric[name]

    def value(self, section, name, value):
        where = self.where(section, name)
        meta = self.kind(where, name)
        if meta is None:
            if name not in self.study.policies:
                return names.canonical(where, name, value, self.catalog[name], owners=name == "model")
            known = self.study.policies[name].choices
            if not isinstance(value, str) or value not in known:
                raise unknown(where, name, value, known)
            return value
        si = number(where, value, meta)
        accepted = self.study.data["accepts"].get(name)
        if accepted and si not in accepted:
            raise InputError(f"{where}: {value!r}; expected one of {accepted} (study {self.study.name})")
        return si
