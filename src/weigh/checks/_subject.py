"""What is under test: a choice on its toy task, and an option of it; and how a check says that something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from weigh import catalog
from weigh.choice import Block, Blocks, Choice, Measure, Option, Task
from weigh.engine import Trial
from weigh.engine.inline import InlineEngine

CLOCKS = {"ns", "us", "µs", "ms", "s", "seconds"}
"""Units of the clock on the wall: values in them are another each time."""


class Nonconformity(AssertionError):
    """A choice or an option does not keep what the others rely on; the message says what and what to do."""


class Conformity(NamedTuple):
    """What was held, and what could not be checked here, with the reason."""

    what: str
    held: tuple[str, ...]
    skipped: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.what} conforms: {len(self.held)} checks held", *(f"  held     {name}" for name in self.held)]
        return "\n".join([*lines, *(f"  skipped  {name}: {reason}" for name, reason in self.skipped.items())])


class Skipped(Exception):
    """A check that cannot be made here."""


@dataclass
class Subject:
    """A choice on its toy task, and an option of it, under test.

    Attributes:
        ref: the choice as it is typed.
        made: the choice.
        cls: the option's class.
        folder: where the toy task lies.
    """

    ref: str
    made: Choice
    cls: type[Option]
    folder: Path
    _kept: dict[str, list[Trial]] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        """The toy task for seed 0."""
        return self.made.toy(self.folder, 0)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those that apply to the toy task."""
        return self.made.suiting(self.task)

    @property
    def engine(self) -> InlineEngine:
        """An engine that has opened the toy task."""
        return self._opened[0]

    @property
    def blocks(self) -> Blocks:
        """The toy task's blocks."""
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[InlineEngine, Blocks]:
        return opened(self.ref, self.task)

    def options(self) -> list[Option]:
        """The option in its default variants."""
        return [self.cls.model_validate(dict(variant)) for variant in self.cls.variants]

    def trials(self, option: Option, engine: InlineEngine | None = None) -> list[Trial]:
        """The option on three race blocks and a fresh one; kept, unless an engine is given."""
        if engine is None and option.spec in self._kept:
            return self._kept[option.spec]
        locked = catalog.lock_option(self.made, option)
        trials = [(engine or self.engine).measure(locked, block) for block in _blocks(self.blocks)]
        if engine is None:
            self._kept[option.spec] = trials
        return trials

    def measured(self, option: Option) -> list[Trial]:
        """The trials of an option that can run here and on the toy task.

        Raises:
            Nonconformity: it broke down.
        """
        if missing := option.needs.missing():
            raise Skipped("; ".join(missing))
        trials = self.trials(option)
        for trial in trials:
            if trial.status == "unfit":
                hold(
                    trial.reason.strip(),
                    f"{option.spec} is unfit for the toy task and does not say why: give Unfit a reason",
                )
                raise Skipped(f"unfit for the toy task: {trial.reason}")
            hold(
                trial.status == "measured",
                f"{option.spec} broke down on the toy task of {self.made.name}: {trial.reason}",
            )
        return trials


def opened(ref: str, task: Task) -> tuple[InlineEngine, Blocks]:
    """A fresh engine on a task, with seed 0; and the task's blocks."""
    engine = InlineEngine()
    return engine, engine.open(ref, task.model_dump(mode="json"), 0)


def _blocks(blocks: Blocks) -> list[Block]:
    from weigh.flow import block_seed

    indices = [*range(min(3, blocks.race)), *([blocks.race] if blocks.fresh else [])]
    return [Block(index=index, seed=block_seed(0, index)) for index in indices]


def hold(condition: object, message: str) -> None:
    """Raise `Nonconformity` unless the condition holds."""
    if not condition:
        raise Nonconformity(message)


Check = Callable[[Subject], None]


def conformity(what: str, checks: Sequence[Check], subject: Subject) -> Conformity:
    """Make the checks; what they are called is the first line of their docstrings."""
    held, skipped = [], {}
    for check in checks:
        name = (check.__doc__ or check.__name__).strip().rstrip(".")
        try:
            check(subject)
        except Skipped as reason:
            skipped[name] = str(reason)
        else:
            held.append(name)
    return Conformity(what, tuple(held), skipped)
