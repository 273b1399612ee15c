"""What shadow logs say of users holds whatever users would have made of answers that differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from weigh.choice import UsageError
from weigh.rollout.plan import Metric
from weigh.rollout.shadow import Counterfactual


@pytest.mark.parametrize("fate", [0.0, 0.3, 1.0])
def test_the_truth_lies_within_at_all_times(fate):
    """30 % convert where both agree; where they differ, `fate` of the users would have."""
    missed, truth = 0, 0.9 * 0.3 + 0.1 * fate
    for seed in range(30):
        rng = np.random.default_rng(seed)
        agree, outcome = rng.random(1500) < 0.9, rng.random(1500) < 0.3
        shadow = Counterfactual(Metric(name="conversion"), 0.05)
        for part in range(0, 1500, 500):
            shadow.add(agree[part : part + 500], outcome[part : part + 500])
            found = shadow.bounds()
            missed += not found.low <= truth <= found.high
    assert missed <= 4
    assert found.high - found.low < 0.2 and found.estimate == pytest.approx(0.3, abs=0.05)


def test_nothing_is_said_of_nothing_and_ranges_are_kept():
    shadow = Counterfactual(Metric(name="revenue", low=-5.0, high=20.0, unit="EUR"), 0.05)
    assert (shadow.bounds().low, shadow.bounds().high) == (-5.0, 20.0) and "nothing is known" in shadow.words()
    shadow.add([True, True, False], [3.0, 4.0, 20.0])
    assert shadow.bounds().estimate == 3.5 and "66.7% answered alike" in shadow.words()
    again = Counterfactual(shadow.metric, 0.05).restore(json.loads(json.dumps(shadow.state())))
    assert again.bounds() == shadow.bounds()
    with pytest.raises(UsageError, match="each in \\[-5, 20\\]"):
        shadow.add([True], [21.0])
