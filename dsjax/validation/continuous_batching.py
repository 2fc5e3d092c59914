"""Continuous batching: chips that decode start new prompts at random times, and all wait for the busiest one.

Source: Orca (Yu et al., OSDI 2022), section 3: after every step finished sequences leave the batch and waiting ones
enter it. With data-parallel attention each group of chips has prompts of its own, and all meet in every MoE layer.

Neglected: prompts and decoded tokens share GEMMs in a real step (weights are read once for both, so the sum here is an
upper bound); sequences missing from the batch; shorter chunks are as efficient as whole prompts. A chip's own links
send the tokens of its prompts and receive their results, so dispatch and combine are its own; only the experts are
everybody's.
"""

import math

SHARED = ("routed",)  # blocks in which all chips work on all tokens


def prompts_per_step(tokens, osl):
    """Prompts that start in a step, one for each sequence that ends: r = tokens / osl [prompt].

    `tokens` decoded in a step, batch (1 + accepted drafts) [token]; `osl` output length [token].
    """
    return tokens / osl


def busiest(mean, groups, most=math.inf):
    """E[max] of `groups` independent counts of the same mean: sum over k >= 0 of 1 - P(count <= k)^groups.

    Counts are Poisson, P(i) = mean^i e^-mean / i!, summed until what is left is below 1e-12 of the total. A group that
    starts at most `most` prompts in a step lets others wait: counts of the same mean are Binomial(most, mean / most).
    """
    if mean <= 0.0 or mean >= most:
        return max(0.0, min(mean, most))
    share = mean / most
    chance = -mean if math.isinf(most) else most * math.log1p(-share)  # ln P(count = 0)
    below, found, k = 0.0, 0.0, 0
    while k < most:
        below = min(1.0, below + math.exp(chance))
        term = -math.expm1(groups * math.log(below)) if below > 0.0 else 1.0
        found += term
        if k > mean and term <= 1e-12 * found:
            break
        k += 1
        rest = mean if math.isinf(most) else (most - k + 1) * share / (1.0 - share)
        chance += math.log(rest / k)
    return found


def chunks(isl, limit):
    """Steps that one prompt takes where a step has at most `limit` of its tokens: ceil(isl / limit)."""
    return max(1, math.ceil(isl / limit))


def shared_part(blocks):
    """Share of the time of a step that is spent in `SHARED`; `blocks` {name: s before overlap}.

    What overlaps is taken to be hidden in proportion.
    """
    return sum(blocks.get(name, 0.0) for name in SHARED) / sum(blocks.values())


def most_prompts(isl, limit, decoded):
    """Prompts, or chunks of one, that fit into a step of `limit` tokens beside those decoded; at least 1."""
    return max(1, math.floor((limit - decoded) / isl))


def step_time(decode_s, prompt_s, shared, mean, groups, pieces=1, most=math.inf):
    """Time of a step in which every group starts `mean` prompts, and all wait for the busiest [s].

    T = decode_s + prompt_s ((1 - shared) E[max] / pieces + shared mean): E[max] of `groups` counts of mean
    `mean pieces`; `decode_s` decoding alone; `prompt_s` a step with one prompt in every group [s], `shared` of it in
    blocks that all chips share; `pieces` chunks of a prompt, each in a step of its own; `most` of them in a step.
    """
    return decode_s + prompt_s * ((1.0 - shared) * busiest(mean * pieces, groups, most) / pieces + shared * mean)
