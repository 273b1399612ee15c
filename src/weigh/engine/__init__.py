"""Where trials run: `local` processes (the default), `inline` in this process, or `ray`, a cluster's workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from weigh.choice import Block, Blocks, Exhibit, Frozen
from weigh.decision import OptionLock
from weigh.evidence import Status, Where
from weigh.limits import Limits as Limits

KEEP_EVERY = 5.0
"""Seconds after which a block is kept in parts. A shorter one is kept whole or not at all, so that its pairs never come
from two runs; a longer one would be too much to lose when a run is killed."""

Coming: TypeAlias = Sequence[tuple[Block, Sequence[OptionLock]]]
"""Blocks in the order in which they come, each with the options to measure on it."""


MAKE_ROOM = (
    "make room or give the right to write there (WEIGH_CACHE names another cache folder) and type the same again: what "
    "was kept is not measured twice"
)


class Trial(Frozen):
    """What came of one option on one block."""

    option: str
    status: Status = "measured"
    reason: str = ""
    values: dict[str, float | list[float]] = {}
    seconds: float = 0.0
    memory_mb: float = 0.0
    where: Where | None = None
    """The machine, if it is not this one."""


class Engine(ABC):
    """Runs trials of one task. A block's options always share a worker, in an order drawn from the block's seed."""

    def within(self, limits: Limits) -> None:  # noqa: B027 (an engine may have no means to hold them)
        """Hold each trial to these, unless the engine was made with limits of its own."""

    @property
    def ahead(self) -> int:
        """How many blocks, the next one counted, it has use for at once; of more than one it is told by `expect`."""
        return 1

    def expect(self, coming: Coming) -> None:  # noqa: B027 (one block at a time: nothing to begin early)
        """A hint: these blocks will be asked for if the race goes on as it does. What came of one, only `run` tells."""

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
