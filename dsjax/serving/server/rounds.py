"""Users who all start at once: their first round, and the means of a benchmark of few rounds (dsjax/MODEL.md, 11.6)."""

from ... import arrays
from . import prompts

APART = 50.0  # so many times the squared spread of the steps of requests takes them out of step in one round


def first(step, sizes, server, users):
    """(TTFT, TPOT, time of a step of prompts) of the first round of users who all start at once [s].

    Of c users, as many as fit, M at a time. `prefill-first`: T_all = c / M T(M), then all decode,
    TTFT = T_all / 2 (1 + M / c), TPOT = t_d(c) + (T_all - T(M)) / 2 E[g / (O - 1)]: nobody decodes before the last
    prompt. `chunked`: T_all = c s beside c / 2 that decode, and who decodes has a token in every step of it: of
    T_all - M s only 1 - t_d(c) / t_C counts, and TPOT is at most max(t_C, t_d(c)). c as many as fit, TPOT over g.
    """
    inside = arrays.minimum(users, server.cap)
    decode_s = step.decode(inside)
    if server.chunked:
        found = prompts.chunks(step, sizes, 0.5 * inside, server.budget, server.groups)
        most = arrays.minimum(found.most, inside)
        one = found.service * most
        lost = arrays.maximum(1.0 - decode_s / found.full_s, 0.0)
        longest = arrays.maximum(found.full_s, decode_s)
    else:
        most = arrays.minimum(prompts.most_in_a_step(sizes, server.budget, server.groups), inside)
        one = prompts.taken(step, sizes, most)
        lost, longest = 1.0, 1e30
    every = one * inside / most
    whole = arrays.minimum(decode_s + 0.5 * (every - one) * lost * sizes.per_step, longest)
    return 0.5 * every * (1.0 + most / inside), whole / sizes.tokens_per_step, one


def means(m, step, sizes, server, users, rounds):
    """(TTFT, TPOT) of `rounds` R requests of each user, all of whom start at once; R = 0: of the steady state m [s].

    Of R c requests the first min(c, cap) are as `first` has them; those who then wait for room wait half as long as
    they do in the steady state, and all others see that. But requests of equal outputs stay together: those of
    `prefill-first` in their first round for ever, those of `chunked` as many as had their prompts in one step.
    """
    ttft, tpot, one = first(step, sizes, server, users)
    inside = arrays.minimum(users, server.cap)
    share = arrays.where(rounds > 0.0, 1.0 / arrays.maximum(rounds, 1.0), 0.0) / users
    late = m.ttft - share * (users - inside) * 0.5 * m.room_wait
    began = share * inside
    together = 1.0 / (1.0 + APART * sizes.spread * sizes.steps**2)
    together = arrays.where(rounds > 0.0, together * (1.0 - began), 0.0)
    if server.chunked:
        late = late + together * arrays.maximum(one + m.room_wait - m.ttft, 0.0)
        return late + began * (ttft - m.ttft), m.tpot + began * (tpot - m.tpot)
    began = began + together
    return late + began * (ttft - m.ttft) + together * m.room_wait, m.tpot + began * (tpot - m.tpot)
