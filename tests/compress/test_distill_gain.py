"""What distilling is known for, on a small Llama that reads Python's manual."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from weigh.model.distilling import Aim, distil
from weigh.model.students import shallower
from weigh.model.training import Plan

sys.path.insert(0, str(Path(__file__).parent))

import byte_llama

pytestmark = pytest.mark.slow
FEW, SEEDS = 200, (0, 1)
AIMS = {"plain": Aim(soft=0.0), "logits": Aim(), "hidden": Aim(hidden=1.0)}


@cache
def losses(aim: str) -> np.ndarray:
    """Nats a byte on each window, the mean over seeds: students of half the layers, trained on 200 windows."""
    found = []
    for seed in SEEDS:
        student = shallower(byte_llama.trained(), (0,))
        plan = Plan(steps=60, batch=8, rate=3e-3, seed=seed)
        made = distil(byte_llama.trained(), student, byte_llama.text()[0][:FEW], plan, AIMS[aim])
        found.append(byte_llama.loss(made.student))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("aim", ["logits", "hidden"])
def test_a_distilled_student_beats_the_same_one_without_a_teacher(aim: str):
    """Sanh et al., DistilBERT (arXiv 1910.01108): same layers, text, steps and seeds; only the loss is another."""
    low, high = byte_llama.interval(losses("plain") - losses(aim))
    assert 0 < low < high < 1


def test_the_teacher_is_better_than_its_students():
    for aim in AIMS:
        assert byte_llama.interval(losses(aim) - byte_llama.loss(byte_llama.trained()))[0] > 0
