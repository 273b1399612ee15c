"""Windows that resemble their neighbours: no false alarm for a long memory, and a bad tail is seen."""

from __future__ import annotations

import json
import math

import numpy as np

from weigh.scale.windows import FEWEST, WindowTest


def _ar(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    made, noise = np.empty(n), rng.standard_normal(n) * math.sqrt(1 - memory**2)
    made[0] = rng.standard_normal()
    for place in range(1, n):
        made[place] = memory * made[place - 1] + noise[place]
    return made


def test_a_long_memory_is_no_harm():
    """Signs of two independent AR(1) series with coefficient .95, looked at after each of 700 windows."""
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng([3, seed])
        gaps = (_ar(rng, 700, 0.95) > 0) * 1.0 - (_ar(rng, 700, 0.95) > 0)
        test = WindowTest(-1.0, 1.0, 0.0, [0.0], 0.05)
        for gap in gaps:
            test.update(float(gap))
        wrong += test.above
    assert wrong <= 3, wrong


def test_a_bad_tail_is_seen_and_small_constant_harm_too():
    rng = np.random.default_rng(0)
    for values in (rng.random(1000) < 0.1, rng.normal(0.02, 0.02, 1000)):
        test = WindowTest(-1.0, 1.0, 0.0, [0.0], 0.01)
        for value in values:
            test.update(float(value))
        assert test.above


def test_rare_catastrophes_that_were_not_seen_are_allowed_for():
    """A share of 1 % is not excluded by fewer windows than could well have missed it: .99^n > .05 up to n = 298."""
    test = WindowTest(0.0, 1.0, 0.01, [0.01], 0.05, memory=1.0)
    for _ in range(290):
        test.update(0.0)
    assert test.below[0] < math.log(20)
    for _ in range(400):
        test.update(0.0)
    assert test.below[0] >= math.log(20) and not test.above


def test_few_windows_say_nothing_and_the_state_survives_json():
    values = np.random.default_rng(1).random(200) < 0.2
    whole = WindowTest(-1.0, 1.0, 0.0, [0.0, 0.5], 0.05)
    for value in values[: FEWEST - 1]:
        whole.update(float(value))
    assert not whole.above and math.isinf(whole.half(0.05))
    again = WindowTest(-1.0, 1.0, 0.0, [0.0, 0.5], 0.05)
    again.restore(json.loads(json.dumps(whole.state())))
    for value in values[FEWEST - 1 :]:
        whole.update(float(value))
        again.update(float(value))
    assert again.state() == whole.state() and again.half(0.05) == whole.half(0.05)
