"""The nouns that a choice is made of: `Choice`, `Option`, `Task`, `Measure`, `Needs`.

A choice is a question with interchangeable answers. Its options do the work; the choice says how
all of them are measured on a task. Nothing here measures time, keeps evidence or judges.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Values: TypeAlias = Mapping[str, float | Sequence[float]]
"""What one trial measured: measure name -> one number (exact) or one number a unit of the block."""


class UsageError(ValueError):
    """What was asked cannot work; the message says why and what to type instead."""


class Halted(UsageError):
    """The run cannot go on, through no fault of an option: what was asked was changed, or the machine refuses."""


class Unfit(Exception):
    """Raised by an option that cannot serve this task, with the reason; it is recorded, not an error."""


class Frozen(BaseModel):
    """A validated, immutable value with a JSON form."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form, as ``sha256:<hex>``."""
        return content_digest(self.model_dump(mode="json"))


def content_digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces).

    >>> content_digest({"b": 1, "a": 2}) == content_digest({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Needs(Frozen):
    """What an option needs before it can run: known without importing any of it.

    >>> Needs(packages=("no-such-package>=2",), extra="monitor").missing()[0]
    'no-such-package>=2 is not installed: pip install "weigh[monitor]"'
    """

    packages: tuple[str, ...] = ()
    extra: str = Field("", description="the extra of weigh that installs the packages")
    hardware: Literal["", "nvidia"] = ""

    def missing(self) -> list[str]:
        """Reasons why this machine cannot run the option, each saying what to do; empty when it can."""
        reasons = [reason for package in self.packages if (reason := self._package(package))]
        if self.hardware == "nvidia" and not Path("/proc/driver/nvidia/version").exists():
            reasons.append("needs an NVIDIA GPU with its driver; run it on a machine that has one")
        return reasons

    def _package(self, text: str) -> str:
        from packaging.requirements import Requirement

        requirement = Requirement(text)
        wanted = f'pip install "weigh[{self.extra}]"' if self.extra else f'pip install "{text}"'
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return f"{text} is not installed: {wanted}"
        if not requirement.specifier.contains(version, prereleases=True):
            return f"{text} is needed, {version} is installed: {wanted}"
        return ""


class Measure(Frozen):
    """One thing that is measured of every option.

    Kinds: ``exact`` (one number, no error: a size), ``mean`` (the average of bounded unit values),
    ``quantile`` (the `q`-quantile of unit values: p95), ``time`` (positive; the median of the rounds,
    compared between options only as paired ratios, since absolute times on a shared machine lie).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    unit: str
    better: Literal["lower", "higher"]
    kind: Literal["exact", "mean", "quantile", "time"]
    meaning: str
    low: float = Field(0.0, description="least possible unit value (kind mean)")
    high: float = Field(1.0, description="greatest possible unit value (kind mean)")
    q: float = Field(0.5, gt=0, lt=1, description="which quantile (kind quantile)")
    serial: bool = Field(False, description="unit values are correlated in time (kind mean)")
    finite: bool = Field(False, description="units are rows of one finite set, drawn without replacement")
    tolerance: float = Field(
        0.0, ge=0, description="differences up to this do not matter (relative for kinds time and quantile)"
    )
    caveat: str = Field("", description="what its intervals leave out, or take for granted, beyond their assumption")

    @property
    def compared_by_ratio(self) -> bool:
        """Options are compared by ratio in it, not by difference."""
        return self.kind in ("time", "quantile")


class Option(Frozen, ABC):
    """One answer to a choice: a frozen, validated settings object that does the work.

    Abstract or final: a choice's abstract class is finalised by an option, and an option is never
    subclassed. The name is the file's name unless the class states one.
    """

    needs: ClassVar[Needs] = Needs()
    name: ClassVar[str] = ""
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Settings that are raced when the user names no options."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if getattr(cls, "__abstractmethods__", None):
            return
        for base in cls.__mro__[1:]:
            if issubclass(base, Option) and "name" in vars(base) and vars(base)["name"]:
                raise TypeError(f"{cls.__name__} subclasses the option {base.__name__}; an option is final: wrap it")
        if "name" not in vars(cls):
            module = sys.modules.get(cls.__module__)
            cls.name = getattr(module, "__option__", cls.__module__.rpartition(".")[2])

    @property
    def spec(self) -> str:
        """The option as it is typed: ``name`` or ``name:setting=value,...`` with what differs from the defaults."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        settings = ",".join(f"{key}={as_typed(value)}" for key, value in changed.items())
        return f"{self.name}:{settings}" if settings else self.name

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


def as_typed(value: Any) -> str:
    """A setting or a task field as it stands behind its ``=`` on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


class Task(Frozen):
    """What the user brings: model, data and what they cost. Files are named by path.

    `fingerprint` covers the content of every file, so that the same path with other rows is another task.
    """

    def fingerprint(self) -> str:
        """SHA-256 over all fields, each existing file (or folder of files) replaced by the hash of its bytes."""
        files = self.files()
        fields = {name: _content(files.get(name, getattr(self, name))) for name in type(self).model_fields}
        return content_digest(fields)

    def files(self) -> dict[str, Path]:
        """The fields that are one path each, and where that lies on this machine."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in fields.items() if isinstance(value, Path)}


def _content(value: Any) -> Any:
    if isinstance(value, Path) and value.is_file():
        with value.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if isinstance(value, Path) and value.is_dir():
        inside = sorted(path for path in value.rglob("*") if path.is_file())
        return {path.relative_to(value).as_posix(): _content(path) for path in inside}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _content(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_content(item) for item in value]
    return os.fspath(value) if isinstance(value, Path) else value


class Block(Frozen):
    """One part of a task on which every option is measured alike: the same rows, round, week or seed."""

    index: int
    seed: int


class Rung(Frozen):
    """One rung of training: blocks on which options are measured that were all trained equally far.

    Before the last rung an option is dropped only when another is certified to be better there by more than `slack`,
    or when more than `keep` would go on: the answer names those, and its error rate leaves them out.
    """

    blocks: int = Field(ge=1)
    label: str = Field("", description="how far options are trained, such as '9 epochs'")
    slack: float = Field(0.0, ge=0, description="how much worse is too bad to go on (relative for times and quantiles)")
    keep: int | None = Field(None, ge=1, description="at most so many options go on")


class Blocks(Frozen):
    """How many blocks a task gives: `race` to choose on, then `fresh` ones that only confirm.

    `population` is the number of units in the finite set that measures marked ``finite`` are drawn from. `rungs`, if
    options are trained further on the way, shares the race's blocks out in order; fresh blocks belong to the last
    rung. A bench asks `rung` how far a block's options are trained, and draws units from the block's own seed.
    """

    race: int = Field(ge=1)
    fresh: int = Field(ge=0)
    population: int | None = None
    rungs: tuple[Rung, ...] = ()

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        if self.rungs and sum(rung.blocks for rung in self.rungs) != self.race:
            parts = " + ".join(str(rung.blocks) for rung in self.rungs)
            raise ValueError(f"the rungs have {parts} blocks, the race {self.race}: each block belongs to one rung")
        if self.rungs and (self.rungs[-1].keep or self.rungs[-1].slack):
            raise ValueError("nothing goes on from the last rung: leave out its keep and slack")
        return self

    @model_serializer(mode="wrap")
    def _without_no_rungs(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What has no rungs keeps the digest that it had before there were any."""
        return {name: value for name, value in plain(self).items() if value or name != "rungs"}

    def rung(self, block: int) -> int:
        """The place of the rung that a block belongs to, from 0.

        >>> blocks = Blocks(race=5, fresh=2, rungs=(Rung(blocks=3), Rung(blocks=2)))
        >>> [blocks.rung(block) for block in range(7)]
        [0, 0, 0, 1, 1, 1, 1]
        """
        ends = list(accumulate(rung.blocks for rung in self.rungs))
        return min(bisect_right(ends, block), max(len(ends) - 1, 0))

    def assumptions(self) -> dict[str, str]:
        """What dropping options on the way takes for granted -> how one would notice that it does not hold."""
        if len(self.rungs) < 2:
            return {}
        slack = sorted({rung.slack for rung in self.rungs[:-1]})
        much = f"by more than {' or '.join(f'{one:g}' for one in slack)}" if slack[-1] else "at all"
        return {
            f"an option that is worse {much} on an early rung is worse at the end of training": (
                "train options that were dropped to the end: fresh blocks do so with the nearest of them"
            )
        }


class Table(Frozen):
    """An exhibit for people: rows under named columns (units in the names)."""

    kind: Literal["table"] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    note: str = ""
    always: bool = Field(False, description="printed with every answer, in the terminal too")


class Line(Frozen):
    """One curve of a `Curves` exhibit; `low` and `high`, if given, are its interval at each x."""

    name: str
    x: tuple[float | str, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


class Curves(Frozen):
    """An exhibit for people: lines over a common axis."""

    kind: Literal["curves"] = "curves"
    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    note: str = ""
    level: float | None = Field(None, description="a value that y is read against, such as an alarm level")


Exhibit: TypeAlias = Table | Curves


class Bench(ABC):
    """A task, opened: the data is loaded and options can be measured. One lives in each worker."""

    @property
    @abstractmethod
    def blocks(self) -> Blocks:
        """How many blocks there are."""

    def prepare(self, option: Any) -> Any:
        """What `trial` measures: the option itself, or what it makes of the task (an artefact, a schedule).

        Called once an option a worker. Raises `Unfit` with the reason when the option cannot serve the task.
        """
        return option

    @abstractmethod
    def trial(self, subject: Any, block: Block) -> Values:
        """Measure one prepared option on one block."""

    def exhibits(self, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
        """Tables and curves that help a person to understand the decision; `subjects` by option spec."""
        return ()


class Choice(ABC):
    """A question with interchangeable answers, and how all of them are measured.

    The first measure decides unless the user names another objective; `cost` names the measure by
    which the cheapest of tied options is taken.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    cost: ClassVar[str]
    baseline: ClassVar[str]
    require: ClassVar[tuple[str, ...]] = ()
    """Constraints that hold unless the user states others."""
    task: ClassVar[type[Task]]
    option: ClassVar[type[Option]]
    assumptions: ClassVar[Mapping[str, str]] = {}
    """What must stay true for a decision to stand -> how one would notice that it does not."""

    @abstractmethod
    def open(self, task: Any, seed: int) -> Bench:
        """Load what all options share."""

    @abstractmethod
    def toy(self, folder: Path, seed: int = 0) -> Task:
        """A small task with a known answer, written under `folder`; opens and races in seconds."""

    @abstractmethod
    def loser(self) -> Option:
        """The planted loser: an option that a sound race on the toy task must never choose."""

    @abstractmethod
    def twins(self) -> tuple[Option, Option]:
        """Two options of the same worth but with randomness of their own: a race must call them a tie."""

    def suiting(self, task: Any) -> tuple[Measure, ...]:
        """The measures that apply to a task, the one that decides first; all, unless the choice says otherwise."""
        return self.measures

    def required(self, task: Any) -> tuple[str, ...]:
        """Constraints that hold on a task unless the user states others."""
        return self.require

    def measure(self, name: str, of: Sequence[Measure] | None = None) -> Measure:
        """The measure of that name, among `of` (all of the choice when None).

        Raises:
            UsageError: there is none, or it does not apply to the task that `of` was made for.
        """
        among = self.measures if of is None else of
        for measure in among:
            if measure.name == name:
                return measure
        known = [measure.name for measure in among]
        if name in {measure.name for measure in self.measures}:
            raise UsageError(f"{name} is not measured on a task like this one; type one of {', '.join(known)}")
        raise UsageError(unknown("measure", name, known, f"of {self.name}"))


def unknown(kind: str, name: str, known: Sequence[str], where: str = "") -> str:
    """The message for a name that does not exist, with the nearest one that does.

    >>> unknown("option", "kss", ["ks", "psi"], "of monitor/drift")
    "there is no option 'kss' of monitor/drift; did you mean 'ks'? (known: ks, psi)"
    """
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"there is no {kind} '{name}'{' ' + where if where else ''}{hint} (known: {', '.join(known) or 'none'})"
