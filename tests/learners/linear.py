"""A linear learner."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from learners import Learner


class Linear(Learner):
    """Softmax regression, one class against the rest, by stochastic gradients.

    Source: scikit-learn's SGDClassifier.
    """

    variants = ({}, {"rate": 0.001})

    rate: float = Field(0.03, gt=0, description="learning rate")

    def fresh(self, seed: int) -> Any:
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=self.rate, random_state=seed)
