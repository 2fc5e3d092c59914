"""Whether percentiles are in the range in which they are held against simulations (dsjax/MODEL.md, 11.9)."""

from ... import arrays
from ...specs.variables import MOST_LOAD, PERCENTILES
from ..server.rounds import APART

NO_ROOM = 0.01  # of the requests: so many find none in a server that is full
NEAR = 1.5  # a share of gaps so many times another one, or less, is near it


def outside(load, room_chance, mixed, sizes=None, users=None):
    """`outside_validity`: a bit for each reason of `variables.OUTSIDE`; 0 where there is none.

    `load` over the most that a server takes, `room_chance` of a request to find no room, `mixed` the share of gaps that
    hold prompts; of a closed loop its `users`, and the `sizes` of their requests: equal ones are those of which more
    than half never leave the step that they start in (11.6).
    """
    together = users is not None and (users > 1.0) & (APART * sizes.spread * sizes.steps**2 < 1.0)
    found = [load > MOST_LOAD, together, room_chance > NO_ROOM]
    found += [_near(mixed, 1.0 - level) for level in PERCENTILES.values()]
    return sum(2.0**i * arrays.where(some, 1.0, 0.0 * load) for i, some in enumerate(found))


def _near(share, other):
    return (share < NEAR * other) & (share > other / NEAR)
