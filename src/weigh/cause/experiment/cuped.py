"""CUPED: the difference in means, less what was known before the experiment."""

from __future__ import annotations

from typing import ClassVar

from weigh.cause.experiment import Analysis
from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._difference import difference, student
from weigh.choice import Needs


class Cuped(Analysis):
    """CUPED: Welch's t-test on what a value from before the experiment does not explain.

    The variance falls by the squared correlation of the metric with that value (.7: by 49 %), which is worth as much as
    twice the units. Good wherever units have a past. Bad when the value is not from before the assignment: then it
    takes away a part of the effect. Like Welch's test it holds for one look, on a day fixed in advance.

    Source: Deng, Xu, Kohavi and Walker, Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, WSDM 2013; slope pooled within arms as in the analysis of covariance.
    """

    needs: ClassVar[Needs] = Needs(packages=("scipy>=1.15",), extra="cause")

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        return student(difference(data, adjust=True), alpha)
