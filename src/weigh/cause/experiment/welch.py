"""Welch's t-test."""

from __future__ import annotations

from typing import ClassVar

from weigh.cause.experiment import Analysis
from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._difference import difference, student
from weigh.choice import Needs


class Welch(Analysis):
    """Welch's t-test: the difference in means with an interval that allows unequal variances.

    Good when the experiment is read once, on a day fixed in advance. Bad when it is read again and again and stopped
    at the first "significant" day: 28 daily looks turn a promised 5 % of false positives into 27.5 %.

    Source: Welch, The generalization of Student's problem, Biometrika 34 (1947).
    """

    needs: ClassVar[Needs] = Needs(packages=("scipy>=1.15",), extra="cause")

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        return student(difference(data), alpha)
