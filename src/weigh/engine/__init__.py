"""Where trials run: `local` processes (the default), or `inline` in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from pydantic import Field, model_validator

from weigh.choice import Block, Blocks, Exhibit, Frozen
from weigh.decision import OptionLock
from weigh.evidence import Status


class Limits(Frozen):
    """What one trial may take before it is stopped and recorded as a timeout or a failure."""

    seconds: float = Field(300.0, gt=0, description="wall-clock seconds a trial (its preparation apart)")
    prepare_seconds: float = Field(
        1800.0,
        gt=0,
        description="wall-clock seconds to prepare one option; as many as a trial where only those are given",
    )
    memory_mb: float = Field(8192.0, gt=0, description="memory of the worker and of all that it started, MB")

    @model_validator(mode="before")
    @classmethod
    def _prepared_within(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "seconds" in given and "prepare_seconds" not in given:
            return {**given, "prepare_seconds": given["seconds"]}
        return given

    @property
    def open_seconds(self) -> float:
        """Wall-clock seconds to start a worker and open the task in it: at least a minute."""
        return max(self.prepare_seconds, 60.0)


class Trial(Frozen):
    """What came of one option on one block."""

    option: str
    status: Status = "measured"
    reason: str = ""
    values: dict[str, float | list[float]] = {}
    seconds: float = 0.0
    memory_mb: float = 0.0


class Engine(ABC):
    """Runs trials of one task. A block's options always share a worker, in an order drawn from the block's seed."""

    @abstractmethod
    def open(self, choice: str, task: dict[str, Any], seed: int) -> Blocks:
        """Load the task; how many blocks it has."""

    @abstractmethod
    def load(self, choice: str, options: Sequence[str]) -> None:
        """Try, where trials run, whether the files of these options can be imported.

        Raises:
            UsageError: one cannot be, or does not come to an end.
        """

    @abstractmethod
    def run(self, block: Block, options: Sequence[OptionLock]) -> Iterator[Trial]:
        """Measure the options on one block, one after the other; a crash, hang or leak of one is its own status."""

    @abstractmethod
    def exhibits(self, options: Sequence[OptionLock]) -> list[Exhibit]:
        """Tables and curves for people."""

    @abstractmethod
    def close(self) -> None:
        """Stop the workers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
