"""A choice for tests whose blocks are training rungs: which learner tells handwritten digits, after nine epochs?"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from weigh.choice import Bench, Block, Blocks, Choice, Measure, Option, Rung, Task, Values

EPOCHS = (1, 3, 9)
TRAINING = 700


class Digits(Task):
    """Scikit-learn's handwritten digits."""

    rows: int = Field(150, ge=1, description="held-out rows a block, drawn anew")
    blocks: int = Field(4, ge=1, description="blocks a rung")
    seeds: int = Field(2, ge=1, description="times that each learner is trained; a row is judged by one of them")
    keep: int | None = Field(None, ge=1, description="at most so many learners go on from a rung")
    slack: float = Field(0.02, ge=0, description="how much worse is too bad to go on")


class Learner(Option):
    """Learns epoch by epoch."""

    salt: int = Field(0, description="what its seeds are made of")

    @abstractmethod
    def fresh(self, seed: int) -> Any:
        """An untrained estimator with `partial_fit` and `predict`."""


class Class(dict[int, tuple[Any, int]]):
    """A learner once a seed, as far as each was trained."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner


class LearnBench(Bench):
    """Digits, shared out into rows to train on and rows to judge by."""

    def __init__(self, task: Digits, seed: int) -> None:
        from sklearn.datasets import load_digits

        self.task = task
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(labels))
        self.x, self.y = images[order] / 16.0, labels[order]

    @property
    def blocks(self) -> Blocks:
        task = self.task
        rungs = [Rung(blocks=task.blocks, label=_far(n), slack=task.slack, keep=task.keep) for n in EPOCHS[:-1]]
        rungs.append(Rung(blocks=task.blocks, label=_far(EPOCHS[-1])))
        return Blocks(race=task.blocks * len(EPOCHS), fresh=4, rungs=tuple(rungs))

    def prepare(self, option: Learner) -> Class:
        return Class(option)

    def trial(self, subject: Class, block: Block) -> Values:
        epochs = EPOCHS[self.blocks.rung(block.index)]
        rng = np.random.default_rng(block.seed)
        rows = rng.integers(TRAINING, len(self.y), self.task.rows)
        seeds = rng.integers(self.task.seeds, size=self.task.rows)
        right = np.zeros(self.task.rows)
        for seed in range(self.task.seeds):
            mine = rows[seeds == seed]
            right[seeds == seed] = self._trained(subject, seed, epochs).predict(self.x[mine]) == self.y[mine]
        return {"accuracy": right, "length": float(len(subject.learner.spec))}

    def _trained(self, subject: Class, seed: int, epochs: int) -> Any:
        made, done = subject.get(seed) or (subject.learner.fresh(1000 * subject.learner.salt + seed), 0)
        for _ in range(done, epochs):
            made.partial_fit(self.x[:TRAINING], self.y[:TRAINING], classes=range(10))
        subject[seed] = made, max(done, epochs)
        return made


class Learners(Choice):
    """Which learner tells handwritten digits?"""

    name = "tests/learners"
    question = "Which learner tells handwritten digits after nine epochs?"
    measures = (
        Measure(
            name="accuracy", unit="of rows", better="higher", kind="mean", meaning="rows told right", tolerance=0.03
        ),
        Measure(name="length", unit="characters", better="lower", kind="exact", meaning="length of what is typed"),
    )
    cost = "length"
    baseline = "linear"
    task = Digits
    option = Learner
    assumptions = {"digits stay as they are": "watch the accuracy on new rows"}

    def open(self, task: Digits, seed: int) -> LearnBench:
        return LearnBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> Digits:
        return Digits()

    def loser(self) -> Option:
        from learners.linear import Linear

        return Linear(rate=1e-7)

    def twins(self) -> tuple[Option, Option]:
        from learners.linear import Linear

        return Linear(salt=1), Linear(salt=2)


def _far(epochs: int) -> str:
    return f"{epochs} epoch{'s' if epochs > 1 else ''}"
