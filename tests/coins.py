"""A small choice for tests: which coin shows heads most often? Its truth is known."""

from __future__ import annotations

import os
import signal
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from weigh.choice import Bench, Block, Blocks, Choice, Measure, Option, Table, Task, Unfit


class CoinTask(Task):
    tosses: int = 50
    blocks: int = 60
    fresh: int = 20
    notes: Path | None = None


class Coin(Option):
    """Tosses itself."""

    @abstractmethod
    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        """Tosses as zeros and ones."""


class Fair(Coin):
    """A fair coin."""

    name = "fair"

    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        return rng.random(tosses) < 0.5


class OtherFair(Coin):
    """Another coin that claims the same name."""

    name = "fair"

    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        return np.ones(tosses)


class Biased(Coin):
    """A coin of known bias."""

    name = "biased"
    p: float = Field(0.5, ge=0, le=1, description="probability of heads")
    stream: int = Field(0, description="stream of randomness of its own")
    weight: float = Field(1.0, description="weight in grams")

    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        return np.random.default_rng([int(rng.integers(2**31)), self.stream]).random(tosses) < self.p


class Troubled(Coin):
    """Does something wrong, on demand."""

    name = "troubled"
    how: str = Field("raise", description="raise, hang, leak, exit, kill, unfit, double or silent")

    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        if self.how == "raise":
            raise RuntimeError("the coin is bent")
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "leak":
            self.__dict__["hoard"] = [np.ones(2**24) for _ in range(100) if not time.sleep(0.02)]
        if self.how == "exit":
            os._exit(9)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(tosses, 2.0 if self.how == "double" else 0.0)


class CoinBench(Bench):
    def __init__(self, task: CoinTask, seed: int) -> None:
        self.task = task

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.blocks, fresh=self.task.fresh)

    def prepare(self, option: Coin) -> Coin:
        if isinstance(option, Troubled) and option.how == "unfit":
            raise Unfit("this coin is for another table")
        return option

    def trial(self, subject: Coin, block: Block) -> dict[str, Any]:
        if delay := os.environ.get("COIN_DELAY"):
            time.sleep(float(delay))
        if log := os.environ.get("COIN_LOG"):
            with open(log, "a") as stream:
                stream.write(f"{subject.spec} {block.index}\n")
        heads = subject.heads(np.random.default_rng(block.seed), self.task.tosses)
        if getattr(subject, "how", "") == "silent":
            return {"weight": 1.0}
        return {"heads": np.asarray(heads, float), "weight": getattr(subject, "weight", 1.0)}

    def exhibits(self, subjects: Any) -> list[Table]:
        return [Table(title="Coins", columns=("coin",), rows=tuple((name,) for name in subjects))]


class Coins(Choice):
    name = "tests/coins"
    question = "Which coin shows heads most often?"
    measures = (
        Measure(name="heads", unit="share", better="higher", kind="mean", meaning="share of heads", tolerance=0.02),
        Measure(name="weight", unit="g", better="lower", kind="exact", meaning="weight"),
    )
    cost = "weight"
    baseline = "coins:Fair"
    task = CoinTask
    option = Coin
    assumptions = {"the coins are not exchanged": "the share of heads in new tosses"}

    def open(self, task: CoinTask, seed: int) -> CoinBench:
        return CoinBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> CoinTask:
        return CoinTask()

    def loser(self) -> Option:
        return Biased(p=0.1)

    def twins(self) -> tuple[Option, Option]:
        return Biased(stream=1), Biased(stream=2)
