"""Learn incrementally, every day, without ever starting again."""

from __future__ import annotations

from typing import final

from weigh.retrain.cadence import Action, Cadence, Day


@final
class Continuous(Cadence):
    """Put the incremental learner into service every morning: online learning without reset.

    The learner is the task's `online`; where that is empty and the estimator cannot learn incrementally, another model:
    a logistic regression by stochastic gradient descent. It has read the first training window five times, and every
    later label once, on the morning after it arrived. Good where data are too many to fit again and drift is slow; bad
    after a jump, which the past outweighs, and where nobody looks at the learning rate again.

    Source: Bottou, Large-scale machine learning with stochastic gradient descent, COMPSTAT 2010; scikit-learn,
    `partial_fit`.
    """

    def act(self, day: Day) -> Action:
        return "update"
