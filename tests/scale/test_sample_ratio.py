"""The sample ratio: right whenever one looks, and quick where assignment is off."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from weigh.scale.sample_ratio import CONCENTRATION, SampleRatio, log_bayes_factor


def test_the_evidence_is_the_ratio_of_two_likelihoods():
    """Beta-binomial over binomial, as scipy has them."""
    half = CONCENTRATION / 2
    expected = stats.betabinom.logpmf(530, 1000, half, half) - stats.binom.logpmf(530, 1000, 0.5)
    assert log_bayes_factor((530, 470), (0.5, 0.5)) == pytest.approx(expected)


def test_sound_assignment_raises_no_alarm_and_a_point_off_does():
    rng, alarms = np.random.default_rng(0), {0.5: 0, 0.51: 0}
    for share in alarms:
        for _ in range(100):
            ratio = SampleRatio()
            for ones in rng.binomial(1000, share, 150):
                ratio.add("half", (1000 - int(ones), int(ones)), (0.5, 0.5))
                if ratio.evidence >= math.log(1000):
                    alarms[share] += 1
                    break
    assert alarms[0.5] == 0 and alarms[0.51] >= 90


def test_stages_with_other_shares_are_kept_apart():
    ratio = SampleRatio()
    ratio.add("1 %", (99_000, 1_000), (0.99, 0.01))
    ratio.add("50 %", (50_000, 50_000), (0.5, 0.5))
    assert ratio.evidence < 0 and ratio.counts() == (149_000, 51_000)
    again = SampleRatio.of(json.loads(json.dumps(ratio.state())))
    assert again.evidence == ratio.evidence
    with pytest.raises(ValueError, match="name a new stage"):
        ratio.add("1 %", (1, 1), (0.5, 0.5))
    with pytest.raises(ValueError, match="adding up to 1"):
        ratio.add("2", (1, 1), (0.5, 0.6))
    with pytest.raises(ValueError, match="one count"):
        ratio.add("2", (-1, 1), (0.5, 0.5))
