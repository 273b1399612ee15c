"""A choice for tests: who tells the multiples of three, from rows that the seed draws?"""

from __future__ import annotations

import json
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from weigh.choice import Bench, Block, Blocks, Choice, Exhibit, Measure, Option, Table, Task, Unfit, Values


class Rows(Task):
    """Whole numbers, one a row."""

    rows: Path = Field(description="JSON list of whole numbers")
    batch: int = Field(40, ge=1, description="rows a block")
    race: int = Field(60, ge=1, description="blocks to race on")
    tags: list[str] = Field([], description="words that are kept with the run")


class Guesser(Option):
    """Says of numbers whether three divides them."""

    @abstractmethod
    def guess(self, numbers: Sequence[int]) -> list[bool]:
        """Whether three divides each of the numbers.

        One answer a number, in order.
        """


class GuessBench(Bench):
    """Rows drawn anew for each block."""

    def __init__(self, task: Rows, seed: int) -> None:
        self._numbers: list[int] = json.loads(task.rows.read_text())
        self._task, self._seed = task, seed

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self._task.race, fresh=20)

    def prepare(self, option: Guesser) -> Guesser:
        if "nobody" in self._task.tags and option.name != "zero":
            raise Unfit("the tag 'nobody' keeps everyone but zero out")
        return option

    def trial(self, subject: Guesser, block: Block) -> Values:
        drawn = random.Random(block.seed ^ self._seed).choices(self._numbers, k=self._task.batch)
        start = time.perf_counter()
        guesses = subject.guess(drawn)
        took = time.perf_counter() - start
        right = [float(guess == (number % 3 == 0)) for guess, number in zip(guesses, drawn, strict=True)]
        return {"accuracy": right, "latency": [took * 1e3], "size": float(len(subject.model_dump_json()))}

    def exhibits(self, subjects: dict[str, Any]) -> Sequence[Exhibit]:
        return [Table(title="Contestants", columns=("option",), rows=tuple((name,) for name in subjects))]


class Guess(Choice):
    """Who tells the multiples of three?"""

    name = "guess/threes"
    question = "Which guesser tells the multiples of three?"
    measures = (
        Measure(name="accuracy", unit="share of rows", better="higher", kind="mean", meaning="rows told right"),
        Measure(name="latency", unit="ms", better="lower", kind="time", meaning="time to tell a block"),
        Measure(name="size", unit="bytes", better="lower", kind="exact", meaning="length of the settings as JSON"),
    )
    cost = "size"
    baseline = "zero"
    require = ("accuracy >= baseline - 0.05",)
    task = Rows
    option = Guesser
    assumptions = {"rows keep coming from the same numbers": "watch the share of multiples of three"}

    def open(self, task: Rows, seed: int) -> GuessBench:
        return GuessBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> Rows:
        path = folder / "rows.json"
        path.write_text(json.dumps(random.Random(seed).choices(range(1000), k=500)))
        return Rows(rows=path)

    def loser(self) -> Option:
        from guess._planted import Wrong

        return Wrong()

    def twins(self) -> tuple[Option, Option]:
        from guess._planted import Twin

        return Twin(salt="left"), Twin(salt="right")
