"""Where the tokens of a batch go: distinct chips and domains that a token visits, rows of the busiest card.

Equations: dsjax/MODEL.md, sections 2 (rows, slots hit) and 5 (domains visited). All arguments are numbers [1]; tokens
are those of one step.
"""

from .. import arrays
from .operators.layers import copies as chosen_experts


def visited(parts, model, slots, over=1.0):
    """Expected number of parts that hold the k experts of a token, of p = `parts` / `over` equal parts of M = `slots`.

    Node-limited routing picks t of G groups evenly (G = `n_group`, t = `topk_group`; none: G = t = 1), then k slots of
    those groups. Draws are without replacement, each taken as the middle one, when (k - 1) / 2 slots are gone:

        parts within a group, p >= G    n(p) = p t/G (1 - (1 - (1 / p) / (t/G - (k - 1) / (2 M)))^k)
        parts of several groups, p < G  p (1 - (1 - (G / p) / (G - (h - 1) / 2))^h),  h = n(G) groups hit

    At most k and at most p. Against explicit routings: within 2 %. Whether p >= G is decided without the quotient.
    """
    copies, limited = 1.0 * chosen_experts(model), model.n_group > 0.0  # a fraction too
    groups = arrays.where(limited, model.n_group, 1.0)
    reach = arrays.where(limited, model.topk_group, 1.0) / groups

    def within(p):
        share = 1.0 / (p * (reach - 0.5 * (copies - 1.0) / slots))
        return p * reach * (1.0 - arrays.maximum(1.0 - share, 0.0) ** copies)

    within_groups, parts = parts >= groups * over, parts / over
    hit = within(groups)
    share = groups / parts / (groups - 0.5 * (hit - 1.0))
    across = parts * (1.0 - arrays.maximum(1.0 - share, 0.0) ** hit)
    return arrays.minimum(arrays.where(within_groups, within(parts), across), arrays.minimum(copies, parts))


def imbalance(model, workload, split, tokens):
    """Rows of the busiest card over the mean: `expert_imbalance`, or `expected_imbalance` where that is 0.

    Experts are chosen with the spread of `favour`.
    """
    given = workload.expert_imbalance
    chance = expected_imbalance(model, split.ep, split.slots, tokens, favour(workload, split))
    return arrays.where(given > 0.0, given, chance)


def favour(workload, split):
    """Standard deviation over mean of how often experts are chosen: less where slots hold copies, placed by load.

    Those are all slots beyond one of each expert, M > E, whether asked for or left over.
    """
    return arrays.where(split.copies, workload.expert_cv_placed, workload.expert_cv)


def expected_imbalance(model, ep, slots, tokens, favour=0.0):
    """Expected rows of the busiest of `ep` cards over the mean: A = `tokens` choose k of M = ep `slots` slots.

    `favour`: standard deviation over mean of how often an expert is chosen, of which s = `slots` of a card even out.

    The rows of a card have mean mu = A k / ep and, apart from what all cards share, variance v = mu (M - k) / (M - 1)
    (the cards' rows add up to A k: their covariance makes up for 1 - 1 / ep). With m the expected largest of ep normal
    numbers, and what the skewness of so few rows adds (Cornish and Fisher's first term):

        1 + sqrt(v / mu^2 + favour^2 / s) m + max(0, m^2 - 0.6) / 6 v / mu^2
    """
    copies, all_slots = chosen_experts(model), ep * slots
    mean = tokens * copies / ep
    apart = arrays.maximum(all_slots - copies, 0.0) / arrays.maximum(all_slots - 1.0, 1.0)  # v / mu
    largest = largest_normal(ep)
    skewed = arrays.maximum(largest * largest - 0.6, 0.0) / 6.0
    # A root of a positive number, so that its derivative is finite also where one card has everything.
    variance = apart / mean + favour * favour / slots
    spread = arrays.where(variance > 0.0, arrays.sqrt(arrays.where(variance > 0.0, variance, 1.0)), 0.0)
    return 1.0 + spread * largest + skewed * apart / mean


def largest_normal(n):
    """Expected largest of n standard normal numbers: the quantile 1 - 0.625 / (n + 0.25) (G. Blom, 1958).

    The quantile by 26.2.23 of Abramowitz and Stegun, good to 5e-4. Within 1 % for n >= 3; n = 2: 4 % too large; 1: 0.
    """
    t = arrays.sqrt(-2.0 * arrays.log(0.625 / (n + 0.25)))
    above = 2.515517 + t * (0.802853 + t * 0.010328)
    below = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    return arrays.maximum(t - above / below, 0.0)


def expert_slots(n_routed_experts, ep):
    """Experts one card holds: ceil(E / ep), in integers."""
    return (n_routed_experts - 1) // ep + 1


def routed_rows(model, workload, split, tokens):
    """(rows of the busiest card, slots that are hit of the card with most of them) for `tokens` tokens of all groups.

    R = min(l k A / ep, A min(k, s)); l of `imbalance`, s slots of a card. Slots hit: `most_slots_hit`, no more than
    A min(k, s), or `slots_hit` of the mean card where `expert_imbalance` says how cards differ.
    """
    copies = chosen_experts(model)
    busiest = imbalance(model, workload, split, tokens)
    rows = tokens * arrays.minimum(busiest * copies / split.ep, arrays.minimum(copies, split.slots))
    hit = slots_hit(split.slots, split.ep * split.slots, copies, tokens, favour(workload, split))
    most = most_slots_hit(hit, split.slots, split.ep)
    most = arrays.minimum(most, tokens * arrays.minimum(copies, split.slots))
    return rows, arrays.where(workload.expert_imbalance > 0.0, hit, most)


def slots_hit(slots, all_slots, copies, tokens, spread=0.0):
    """Expected number of a card's slots that are hit, and so read: s (1 - (1 + v x)^(-1 / v)), x = -A ln(1 - k / M).

    s `slots` of the card, M `all_slots` of all cards, of which A tokens choose k; slots are favoured as a Gamma
    distribution of mean 1 and standard deviation `spread` has them, v its variance; 0: s (1 - e^-x) (dsjax/MODEL.md,
    section 2).
    """
    tried = -tokens * arrays.log1p(-copies / all_slots)
    variance = spread * spread
    some = variance > 0.0
    v = arrays.where(some, variance, 1.0)
    missed = arrays.where(some, arrays.log1p(v * tried) / v, tried)
    return slots * -arrays.expm1(-missed)


def most_slots_hit(hit, slots, ep):
    """Expected slots hit of the card with most of them, of `ep` cards with s = `slots` each, g = `hit` in the mean.

    A slot is hit or not, with variance g (1 - g / s) phi, phi = (M - s) / (M - 1) for what other cards lack, M = ep s;
    with m and the term of skewness as in `expected_imbalance`:

        min(s, g + m sqrt(g (1 - g / s) phi) + max(0, m^2 - 0.6) / 6 max(0, 1 - 2 g / s) phi)

    Against simulation within 8 % where g >= 1.
    """
    largest, share = largest_normal(ep), hit / slots
    elsewhere = (ep - 1.0) * slots / arrays.maximum(ep * slots - 1.0, 1.0)
    variance = hit * (1.0 - share) * elsewhere
    # A root of a positive number, so that its derivative is finite also where every slot is hit.
    deviation = arrays.where(variance > 0.0, arrays.sqrt(arrays.where(variance > 0.0, variance, 1.0)), 0.0)
    skewed = arrays.maximum(largest * largest - 0.6, 0.0) / 6.0
    skewed = skewed * arrays.maximum(1.0 - 2.0 * share, 0.0) * elsewhere
    return arrays.minimum(slots, hit + deviation * largest + skewed)
