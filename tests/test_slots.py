"""Slots of a card that are hit, and so read, against explicit routings; what follows for one user."""

import numpy as np
import pytest

import dsjax
from dsjax.formulas import routing


def hit_slots(rng, shape, tokens, favour):
    """(mean of all cards, card with most of them) of one batch of tokens that choose k slots by favoured scores."""
    slots, k, ep = shape
    weights = rng.gamma(1.0 / favour**2, favour**2, slots) if favour else np.ones(slots)
    scores = np.log(np.maximum(weights, 1e-12)) + rng.gumbel(size=(tokens, slots))
    hit = np.zeros(slots, bool)
    hit[np.argpartition(-scores, k - 1, axis=1)[:, :k]] = True
    cards = hit.reshape(ep, -1).sum(axis=1)
    return cards.mean(), cards.max()


CASES = [(1, 8, 256), (4, 8, 256), (16, 8, 256), (64, 8, 256), (16, 32, 256), (64, 72, 288), (4, 2, 128), (16, 4, 128)]


@pytest.mark.parametrize("favour", [0.0, 0.7])
@pytest.mark.parametrize(("tokens", "ep", "slots"), CASES)
def test_slots_hit_of_the_mean_card_and_of_the_one_with_most(tokens, ep, slots, favour):
    rng, k = np.random.default_rng(0), 4 if slots == 128 else 8
    found = np.mean([hit_slots(rng, (slots, k, ep), tokens, favour) for _ in range(200)], axis=0)
    own = slots / ep
    mean = routing.slots_hit(own, float(slots), float(k), np.float64(tokens), np.float64(favour))
    most = routing.most_slots_hit(mean, np.float64(own), np.float64(ep))
    assert mean == pytest.approx(found[0], rel=0.05) and most == pytest.approx(found[1], rel=0.08)


def test_no_card_has_more_than_all_and_one_card_has_the_mean():
    for hit in np.linspace(0.01, 4.0, 50):
        assert hit <= routing.most_slots_hit(hit, np.float64(4.0), np.float64(64.0)) <= 4.0
        assert routing.most_slots_hit(hit, np.float64(4.0), np.float64(1.0)) == pytest.approx(hit, rel=1e-3)


def test_one_user_reads_weights_sooner_with_every_expert_split_over_the_cards():
    """8 experts of a token: one for each of 8 cards in the mean, 2.5 on the busiest; under tp an eighth of all 8."""
    fixed = {"hardware": "H200", "nic": "CX7", "phase": "decode", "tp": 8, "concurrency": 1, "context": 4096.0}
    fixed |= {"precision": "fp8", "pipeline": "naive", "mtp": 0}
    axes = {"hardware_hbm_bytes_per_s": [4.8e10, 4.8e12]}  # with slow memory the experts are what counts
    time = {}
    for moe_tp, ep in ((8, 1), (1, 8)):
        ds = dsjax.sweep({"axes": axes, "fixed": fixed | {"moe_tp": moe_tp, "ep": ep}}, blocks=True)
        time[ep] = ds.block_time.sel(block="routed").values
    assert time[8][0] / time[1][0] == pytest.approx(2.5, rel=0.05) and (time[8] > 1.3 * time[1]).all()


def test_a_given_imbalance_leaves_the_mean_card():
    fixed = {"hardware": "H200", "nic": "CX7", "phase": "decode", "tp": 1, "batch": 1, "context": 4096.0}
    fixed |= {"precision": "fp8", "pipeline": "naive", "mtp": 0, "ep": 32}
    ds = dsjax.sweep({"axes": {"expert_imbalance": [0.0, 1.0]}, "fixed": fixed})
    assert float(ds.step_time[0]) > 1.1 * float(ds.step_time[1])
