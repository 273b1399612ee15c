"""What `decide` is asked: the question as it is typed, and what is refused before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from weigh import catalog
from weigh.choice import Choice, Frozen, Option, Task, UsageError, unknown
from weigh.decision import Budget
from weigh.engine import Limits
from weigh.printable import printable


class Question(Frozen):
    """One run of `decide`, as it is typed: the same in YAML, in Python and on the command line."""

    choice: str
    task: dict[str, Any] = {}
    options: tuple[str, ...] = Field((), description="what to race; all options of the choice when empty")
    require: tuple[str, ...] | None = Field(None, description="constraints; the choice's own when not given")
    objective: str = Field("", description="the measure to optimise; the choice's first when empty")
    epsilon: float | None = Field(
        None, ge=0, description="differences up to this do not matter (a share for times and quantiles)"
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="probability of a wrong verdict, at most")
    seed: int = Field(0, ge=0)
    budget: str = Field(
        "", description="200 (blocks), 10% (of all measurements), 90s, 5m; empty: all blocks of the task"
    )
    limits: Limits = Limits()


_WANTED = {
    "choice": "the name of a choice, such as 'monitor/drift'",
    "task": "the fields of the task, such as {'history': 'flights.parquet'}",
    "options": "a list of names such as 'ks' or 'psi:threshold=0.2', files such as './mine.py', or option objects",
    "require": "a list of texts such as 'accuracy >= baseline - 0.01'",
    "objective": "the name of a measure",
    "epsilon": "a number of at least 0",
    "alpha": "a probability above 0 and below 0.5, such as 0.05",
    "seed": "a whole number of at least 0",
    "budget": "'200' (blocks), '10%' (of all measurements), '90s', '5m' or '1h', or leave it out",
    "limits": "Limits(seconds=60, memory_mb=4096) or a mapping of such names to numbers above 0",
    "ledger": "a file such as '.weigh/ledger.db', or a database URL",
    "records": "a folder, or None to write no record",
}


def refused(name: str, value: object) -> UsageError:
    """That an argument cannot be used, and what can."""
    return UsageError(f"{name}={value!r:.80} cannot be used: give {_WANTED[name]}")


def ask(**fields: Any) -> Question:
    """The question, checked; a text in place of a list is a list of one, and what is None is not given.

    Raises:
        UsageError: a field cannot be used; the message says what can.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("options", "require"):
        if name in given:
            given[name] = _texts(name, given[name])
    if isinstance(given.get("budget"), int | float) and not isinstance(given["budget"], bool):
        given["budget"] = str(given["budget"])
    try:
        question = Question.model_validate(given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name not in _WANTED:
            raise UsageError(unknown("argument", name, list(Question.model_fields), "of a question")) from None
        raise _because(name, given.get(name), error) from None
    budget_of(question)
    return question


def _because(name: str, value: object, error: ValidationError) -> UsageError:
    limit = str(error.errors()[0]["loc"][-1])
    if name == "limits" and error.errors()[0]["type"] == "extra_forbidden":
        return UsageError(unknown("limit", limit, list(Limits.model_fields)))
    return refused(name, value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise refused(name, value)
    return tuple(items)


def budget_of(question: Question) -> Budget:
    """When the question says to stop.

    Raises:
        UsageError: it cannot be read, or leaves nothing to measure.
    """
    try:
        return Budget.parse(question.budget or None)
    except UsageError:
        raise
    except ValueError:
        raise refused("budget", question.budget) from None


def options_of(made: Choice, wanted: Any) -> list[Option]:
    """The options to race: by name, by file, or as they are; all of the choice when there are none.

    Raises:
        UsageError: one does not exist, cannot be loaded, or is an option of another choice.
    """
    items = [wanted] if isinstance(wanted, str | Option) else [] if wanted is None else wanted
    if not isinstance(items, Sequence) or not all(isinstance(item, str | Option) for item in items):
        raise refused("options", wanted)
    for item in items:
        bases = {base.__qualname__ for base in type(item).__mro__}
        if isinstance(item, Option) and made.option.__qualname__ not in bases:
            raise UsageError(
                f"{type(item).__name__} is no option of {made.name}: it does not finalise {made.option.__name__}"
            )
    return catalog.resolve(made, list(items))


def files_in(wanted: Any) -> list[str]:
    """Those of the options that come from a file."""
    items = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, Sequence) else []
    return [item for item in items if isinstance(item, str) and ".py" in item]


def make_task(made: Choice, task: Task | Mapping[str, Any]) -> Task:
    """The task, validated.

    Raises:
        UsageError: a field is missing, unknown or of the wrong type.
    """
    if isinstance(task, made.task):
        return _with_files(task)
    task = task.model_dump(exclude_unset=True) if isinstance(task, Task) else task
    if not isinstance(task, Mapping):
        raise refused("task", task)
    known = list(made.task.model_fields)
    for name in task:
        if name not in known:
            raise UsageError(unknown("task field", str(name), known, f"of {made.name}"))
    try:
        return _with_files(made.task.model_validate(dict(task)))
    except ValidationError as error:
        raise UsageError(f"the task of {made.name}: {catalog.plain(error)}") from None


def _with_files(task: Task) -> Task:
    fields = {name: getattr(task, name) for name in type(task).model_fields} | task.files()
    for name, value in fields.items():
        for path in value if isinstance(value, list | tuple) else (value,):
            if isinstance(path, Path) and printable(str(path)) != str(path):
                raise UsageError(f"the file {printable(str(path))!r} ({name}) cannot be written down: rename it")
            if isinstance(path, Path) and not path.exists():
                raise UsageError(
                    f"there is no file {path} ({name}) in {Path.cwd()}; type where it lies, or --toy for a small task"
                )
    return task
