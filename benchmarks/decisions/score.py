"""What many replications say of a rule: rates, their bounds and means, per family and over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.decisions.play import Outcome


@dataclass(frozen=True, slots=True)
class Score:
    """One rule on one family, over all settings.

    Attributes:
        runs: replications.
        errors: those in which the rule raised.
        violators: share in which a violator was shipped.
        violators_upper: the upper 95 % bound of that share (Clopper and Pearson).
        violators_setting: the largest share in one setting.
        cost_ratio: mean objective of what was shipped against the oracle's, over what keeps to the limits.
        measured_fraction: mean share of all units of all options that was measured.
        bias_pp: by how much what was reported flatters, in percentage points; NaN where no mean was reported.
        certified: share that the rule stood behind.
        nothing: share in which the baseline was shipped without a claim although it breaks a limit.
        seconds: mean time of the rule.
    """

    runs: int
    errors: int
    violators: float
    violators_upper: float
    violators_setting: float
    cost_ratio: float
    measured_fraction: float
    bias_pp: float
    certified: float
    nothing: float
    seconds: float

    @classmethod
    def of(cls, settings: Sequence[Sequence[Outcome]]) -> Score:
        """From the outcomes of each setting."""
        outcomes = [outcome for setting in settings for outcome in setting]
        violated = [outcome.violated for outcome in outcomes]
        return cls(
            runs=len(outcomes),
            errors=sum(bool(outcome.error) for outcome in outcomes),
            violators=float(np.mean(violated)),
            violators_upper=upper(sum(violated), len(violated)),
            violators_setting=max(float(np.mean([o.violated for o in setting])) for setting in settings),
            cost_ratio=mean(outcome.cost_ratio for outcome in outcomes),
            measured_fraction=mean(outcome.used for outcome in outcomes),
            bias_pp=mean(outcome.bias for outcome in outcomes),
            certified=mean(float(outcome.certified) for outcome in outcomes),
            nothing=mean(float(outcome.nothing) for outcome in outcomes),
            seconds=mean(outcome.seconds for outcome in outcomes),
        )

    def figures(self) -> dict[str, object]:
        """As ``decisions.json`` has them, under the names that they have over all families."""
        return {
            "runs": self.runs,
            "errors": self.errors,
            "violators_max": told(self.violators),
            "violators_upper_max": told(self.violators_upper),
            "violators_setting_max": told(self.violators_setting),
            "cost_ratio_mean": told(self.cost_ratio),
            "measured_fraction_mean": told(self.measured_fraction),
            "winner_bias_pp": told(self.bias_pp),
            "certified": told(self.certified),
            "nothing": told(self.nothing),
            "milliseconds": told(1000 * self.seconds),
        }


def summed(scores: Mapping[str, Score]) -> dict[str, object]:
    """One rule over all families: the worst family for violators, the mean of families for the rest."""
    worst = max(scores, key=lambda name: scores[name].violators_upper)
    biases = {name: score.bias_pp for name, score in scores.items() if not np.isnan(score.bias_pp)}
    return {
        "families": len(scores),
        "replications": sum(score.runs for score in scores.values()),
        "errors": sum(score.errors for score in scores.values()),
        "violators_max": told(max(score.violators for score in scores.values())),
        "violators_upper_max": told(scores[worst].violators_upper),
        "violators_worst_family": worst,
        "violators_mean": told(mean(score.violators for score in scores.values())),
        "cost_ratio_mean": told(mean(score.cost_ratio for score in scores.values())),
        "measured_fraction_mean": told(mean(score.measured_fraction for score in scores.values())),
        "winner_bias_pp": told(mean(biases.values())),
        "winner_bias_pp_worst": told(max(biases.values(), key=abs, default=float("nan"))),
        "certified": told(mean(score.certified for score in scores.values())),
        "nothing": told(mean(score.nothing for score in scores.values())),
        "milliseconds": told(1000 * mean(score.seconds for score in scores.values())),
    }


def upper(count: int, runs: int, level: float = 0.95) -> float:
    """The one-sided upper bound of a share, by Clopper and Pearson (1934)."""
    from scipy.stats import beta

    return 1.0 if count >= runs else float(beta.ppf(level, count + 1, runs - count))


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are numbers; NaN where none is."""
    numbers = np.array([value for value in values if not np.isnan(value)])
    return float(numbers.mean()) if numbers.size else float("nan")


def told(value: float) -> float | None:
    """Rounded for the report; None where there is no number."""
    return None if np.isnan(value) else round(value, 5)
