"""Trials in this process: no isolation and no limits. For simulations, tests and notebooks that trust their options."""

from __future__ import annotations

import errno
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weigh import catalog
from weigh.choice import Bench, Block, Blocks, Choice, Exhibit, Halted, Measure, Task, Unfit, UsageError, Values
from weigh.decision import OptionLock
from weigh.engine import MAKE_ROOM, Engine, Trial
from weigh.printable import printable

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO}
"""Errors of the system that say nothing of an option."""
_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))
EVERYWHERE = (
    "every node of a cluster needs the same files by the same paths (a folder that all of them share), and the same "
    "packages"
)


class InlineEngine(Engine):
    """Runs every trial in the calling process.

    Args:
        catch: what an option may raise and be recorded as failed; a worker catches everything.
    """

    def __init__(self, catch: type[BaseException] = Exception) -> None:
        self._catch = catch
        self._choice: Choice | None = None
        self._bench: Bench | None = None
        self._measures: Sequence[Measure] = ()
        self._subjects: dict[str, Any] = {}
        self._refused: dict[str, Trial] = {}
        self._away = False

    def load(self, choice: str, options: Sequence[str]) -> None:
        """Nothing to try: the options are loaded in this very process."""

    def open(self, choice: str, task: dict[str, Any], seed: int, fingerprint: str = "") -> Blocks:
        """Load the task; how many blocks it has.

        Args:
            fingerprint: what the task was where the question was asked, if that is another machine: a task or option
                that is not the same here halts the run, and judges no option.
        """
        self._choice, self._away = catalog.choice(choice), bool(fingerprint)
        opened = self._choice.task.model_validate(task)
        if self._away and opened.fingerprint() != fingerprint:
            raise Halted(f"{_elsewhere(opened)}; {EVERYWHERE}")
        self._bench, self._measures = self._choice.open(opened, seed), self._choice.suiting(opened)
        return self._bench.blocks

    def run(self, block: Block, options: Sequence[OptionLock]) -> Iterator[Trial]:
        return (self.measure(option, block) for option in shuffled(options, block))

    def prepare(self, option: OptionLock) -> Trial | None:
        """Make the option ready; the refusal when that is not possible."""
        if option.spec in self._subjects:
            return None
        if option.spec not in self._refused:
            try:
                self._subjects[option.spec] = self._ready(option)
                return None
            except self._catch as error:
                stop_for(error)
                self._refused[option.spec] = refusal(option.spec, error)
        return self._refused[option.spec]

    def _ready(self, option: OptionLock) -> Any:
        assert self._choice is not None and self._bench is not None
        try:
            made = catalog.unlock_option(self._choice, option)
        except UsageError as error:
            if self._away:
                told = f"the option {option.spec} is not what it was where the question was asked ({error})"
                raise Halted(f"{told}; {EVERYWHERE}") from None
            raise
        missing = made.needs.missing()
        if self._away and tuple(missing) != option.missing:
            here, there = ("; ".join(reasons) or "nothing missing" for reasons in (missing, option.missing))
            told = f"the option {option.spec} has not the packages that it was asked with ({here}, not {there})"
            raise Halted(f"{told}; {EVERYWHERE}")
        if missing:
            raise Unfit("; ".join(missing))
        return self._bench.prepare(made)

    def measure(self, option: OptionLock, block: Block) -> Trial:
        """One trial."""
        assert self._bench is not None and self._choice is not None
        if refused := self.prepare(option):
            return refused
        start = time.perf_counter()
        try:
            values = plain_values(self._bench.trial(self._subjects[option.spec], block))
            fitting(values, self._measures)
            return Trial(option=option.spec, values=values, seconds=time.perf_counter() - start)
        except self._catch as error:
            stop_for(error)
            return refusal(option.spec, error)

    def exhibits(self, options: Sequence[OptionLock]) -> list[Exhibit]:
        assert self._bench is not None
        ready = [option.spec for option in options if self.prepare(option) is None]
        return list(self._bench.exhibits({spec: self._subjects[spec] for spec in ready}))

    def close(self) -> None:
        self._bench = None
        self._subjects.clear()


def _elsewhere(task: Task) -> str:
    """That the task is not what it was where the question was asked."""
    values = [getattr(task, name) for name in type(task).model_fields]
    paths = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    paths = [path for path in paths if isinstance(path, Path)]
    if lost := [str(path.absolute()) for path in paths if not path.exists()]:
        return f"the task's files {', '.join(lost)} are not there"
    return f"the task's files ({', '.join(map(str, paths))}) do not hold what they held where the question was asked"


def shuffled(options: Sequence[OptionLock], block: Block) -> list[OptionLock]:
    """The options in the block's own order, so that no option always goes first."""
    order = list(options)
    random.Random(block.seed).shuffle(order)
    return order


def stop_for(error: BaseException) -> None:
    """Raises `Halted` where the error is no option's: no room, or no right to write, or a change while measuring."""
    if isinstance(error, Halted):
        raise error
    if isinstance(error, OSError) and error.errno in MACHINE:
        raise Halted(f"{error.filename or 'the system'}: {error.strerror}; {MAKE_ROOM}") from None
    if any(words in str(error) for words in _FULL):  # of libraries that raise errors of their own
        raise Halted(f"the disk is full ({_told(str(error))}); {MAKE_ROOM}") from None


def refusal(option: str, error: BaseException) -> Trial:
    """What an exception says of an option, in words that can be shown and kept."""
    if isinstance(error, Unfit):
        return Trial(option=option, status="unfit", reason=_told(str(error)))
    where = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        where = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
    return Trial(option=option, status="failed", reason=_told(f"{type(error).__name__}: {error}{where}"))


def _told(text: str) -> str:
    return " ".join(printable(text).split())[:500]


def plain_values(values: Values) -> dict[str, float | list[float]]:
    """Numbers as JSON has them.

    Raises:
        ValueError: a value is no finite number.
    """
    if odd := [name for name in values if not isinstance(name, str) or printable(name) != name]:
        raise ValueError(f"measured something that has no name: {odd[0]!r:.80}")
    plain = {name: _plain(value) for name, value in values.items()}
    for name, numbers in plain.items():
        if not all(map(math.isfinite, numbers if isinstance(numbers, list) else [numbers])):
            raise ValueError(f"measured {name} as {numbers!r:.80}, which is no finite number")
    return plain


def fitting(values: Mapping[str, float | list[float]], measures: Sequence[Measure]) -> None:
    """Raises ValueError when a measure is missing, or a value lies outside the bounds that its measure states."""
    for measure in measures:
        if measure.name not in values:
            raise ValueError(f"did not measure {measure.name}")
        given = values[measure.name]
        numbers = given if isinstance(given, list) else [given]
        if measure.kind == "mean" and not all(measure.low <= number <= measure.high for number in numbers):
            raise ValueError(f"measured {measure.name} outside [{measure.low:g}, {measure.high:g}]: {numbers!r:.80}")
        if measure.kind == "time" and not all(number > 0 for number in numbers):
            raise ValueError(f"measured {measure.name} as {numbers!r:.80}, and times are positive")


def _plain(value: Any) -> float | list[float]:
    return [float(number) for number in value] if hasattr(value, "__len__") else float(value)
