"""A small network."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from learners import Learner


class Network(Learner):
    """One hidden layer, by Adam.

    Source: scikit-learn's MLPClassifier.
    """

    variants = ({}, {"rate": 0.3})

    width: int = Field(32, ge=1, description="hidden units")
    rate: float = Field(0.02, gt=0, description="learning rate")

    def fresh(self, seed: int) -> Any:
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier((self.width,), learning_rate_init=self.rate, batch_size=50, random_state=seed)
