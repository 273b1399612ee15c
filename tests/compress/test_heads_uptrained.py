"""What grouped-query attention is known for, on a small Llama that reads Python's manual."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weigh.compress.heads._pooling import pool
from weigh.model.distilling import Aim, distil
from weigh.model.training import Plan

sys.path.insert(0, str(Path(__file__).parent))

import byte_llama

pytestmark = pytest.mark.slow
SHARE = 0.05


def uptrained(groups: int) -> object:
    """Pooled, and trained on for 5 % of the steps that the model took."""
    net = pool(byte_llama.trained(), groups)
    plan = Plan(steps=round(SHARE * byte_llama.STEPS), batch=16, rate=1.5e-3, seed=1)
    return distil(net, net, byte_llama.text()[0], plan, Aim(soft=0.0)).student


def test_grouped_heads_trained_on_close_most_of_the_gap_of_one_head_that_was_not():
    """Ainslie et al. (arXiv 2305.13245): 5 % of the training bring grouped heads near to all of them."""
    whole = byte_llama.loss(byte_llama.trained())
    raw = byte_llama.loss(pool(byte_llama.trained(), 1))
    assert byte_llama.interval(raw - whole)[0] > 1, "one head in place of eight, pooled and left so, breaks the model"
    grouped = byte_llama.loss(uptrained(4))
    assert byte_llama.interval(grouped - whole - 0.5 * (raw - whole))[1] < 0, "less than half of the gap is left"
    assert byte_llama.interval(grouped - whole)[0] > 0, "and some of it is"


def test_more_heads_lose_less_and_training_on_pays_for_each():
    losses = {groups: byte_llama.loss(uptrained(groups)) for groups in (4, 1)}
    assert byte_llama.interval(losses[1] - losses[4])[0] > 0
    for groups, mine in losses.items():
        assert byte_llama.interval(byte_llama.loss(pool(byte_llama.trained(), groups)) - mine)[0] > 0.3
