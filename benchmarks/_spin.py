"""A choice whose trials burn a set amount of processor time, and tell a coin toss: what an engine adds can be seen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from weigh.choice import Bench, Block, Blocks, Choice, Measure, Option, Task


class SpinTask(Task):
    """How long the race is, and how long a trial."""

    blocks: int = 200
    loops: int = Field(0, description="turns of a loop in Python a trial")


class Spinner(Option):
    """Burns processor time."""

    @abstractmethod
    def toss(self, seed: int) -> list[float]:
        """Tosses of a fair coin."""


class Spin(Spinner):
    """Turns a loop, then tosses a coin of its own stream."""

    name = "spin"
    stream: int = Field(0, description="stream of randomness of its own")

    def toss(self, seed: int) -> list[float]:
        import numpy as np

        return np.random.default_rng([seed, self.stream]).integers(0, 2, 8).astype(float).tolist()


class SpinBench(Bench):
    """Nothing is loaded."""

    def __init__(self, task: SpinTask) -> None:
        self.task = task

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.blocks, fresh=0)

    def trial(self, subject: Spinner, block: Block) -> Mapping[str, Any]:
        total = 0
        for turn in range(self.task.loops):
            total += turn
        return {"heads": subject.toss(block.seed), "weight": 1.0}


class Spins(Choice):
    """Which coin shows heads most often? No two differ, so that a race goes on to its last block."""

    name = "benchmarks/spin"
    question = "Which coin shows heads most often?"
    measures = (
        Measure(name="heads", unit="share", better="higher", kind="mean", meaning="share of heads"),
        Measure(name="weight", unit="g", better="lower", kind="exact", meaning="weight"),
    )
    cost = "weight"
    baseline = "benchmarks._spin:Spin"
    task = SpinTask
    option = Spinner

    def open(self, task: SpinTask, seed: int) -> SpinBench:
        return SpinBench(task)

    def toy(self, folder: Path, seed: int = 0) -> SpinTask:
        return SpinTask()

    def loser(self) -> Option:
        return Spin()

    def twins(self) -> tuple[Option, Option]:
        return Spin(stream=1), Spin(stream=2)
