"""From what was typed to a `Question`: a YAML file, FIELD=VALUE words and flags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from weigh import catalog
from weigh.choice import Choice, Task, UsageError, unknown
from weigh.engine import Limits

if TYPE_CHECKING:
    from weigh.flow import Question

TOYS = Path(".weigh/toy")
NOTHING = "none"


class Typed(NamedTuple):
    """A question, and the task fields that were typed: all, or with `--toy` what differs from the toy task."""

    question: Question
    own: dict[str, Any]


def read(what: str, words: Sequence[str], task_file: str | None, toy: bool, given: Mapping[str, Any]) -> Typed:
    """The question that was typed; what stands on the command line goes before what stands in a file.

    Args:
        what: a choice, or a YAML file that holds a question.
        words: ``field=value`` of the task.
        task_file: a YAML file with fields of the task.
        toy: take the choice's toy task for what is not given.
        given: flags by the names that `Question` has; None where not typed.

    Raises:
        UsageError: something that was typed cannot work.
    """
    from weigh.flow import Question, make_task

    fields: dict[str, Any] = _from_file(Path(what)) if what.endswith((".yaml", ".yml")) else {"choice": what}
    made = catalog.choice(fields["choice"])
    fields |= {name: value for name, value in given.items() if value not in (None, ())}
    if NOTHING in (fields.get("require") or ()):
        fields["require"] = ()
    seed = int(fields.get("seed", 0))
    typed = dict(fields.get("task") or {}) | (_mapping(Path(task_file)) if task_file else {}) | _words(made, words)
    given_by_toy = toy_task(made, seed).model_dump(mode="json", exclude_unset=True) if toy else {}
    typed = given_by_toy | typed
    _missing(made, typed)
    task = make_task(made, typed)
    _files(task)
    fields["task"] = task.model_dump(mode="json", exclude_unset=True)
    if "limits" in fields:
        fields["limits"] = _limits(fields["limits"])
    own = {
        name: value for name, value in fields["task"].items() if name not in given_by_toy or value != given_by_toy[name]
    }
    return Typed(Question.model_validate(fields), own)


def toy_task(made: Choice, seed: int) -> Task:
    """The choice's toy task, written under `.weigh/toy`."""
    folder = TOYS / f"{made.name.replace('/', '-')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return made.toy(folder, seed)


def _from_file(path: Path) -> dict[str, Any]:
    from weigh.flow import Question

    fields = _mapping(path)
    for name in fields:
        if name not in Question.model_fields:
            raise UsageError(f"{path}: {unknown('key', name, list(Question.model_fields), 'of a run')}")
    if not isinstance(fields.get("choice"), str):
        raise UsageError(f"{path} names no choice; add a line such as 'choice: monitor/drift'")
    for name in ("options", "require"):
        if isinstance(fields.get(name), str):
            fields[name] = (fields[name],)
    if "budget" in fields:
        fields["budget"] = str(fields["budget"] or "")
    return fields


def _mapping(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise UsageError(f"there is no file {path}; `weigh decide CHOICE ... --print yaml > {path}` writes one")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {error}") from None
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise UsageError(f"{path} must hold 'name: value' lines, it holds {type(loaded).__name__}")
    return loaded


def _words(made: Choice, words: Sequence[str]) -> dict[str, Any]:
    known = list(made.task.model_fields)
    typed: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"'{word}' is no field of the task; type FIELD=VALUE, where FIELD is one of {', '.join(known)}"
            )
        if name not in known:
            raise UsageError(unknown("task field", name, known, f"of {made.name}"))
        if name in typed:
            raise UsageError(
                f"{name} is given twice, as {typed[name]!r} and {value!r}; type it once, lists as {name}=a,b"
            )
        typed[name] = _value(made, name, value)
    return typed


def _value(made: Choice, name: str, text: str) -> Any:
    """The first reading of a text that suits the field: JSON, as it stands, or comma separated."""
    from pydantic import TypeAdapter, ValidationError

    info = made.task.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
    for reading in _readings(text):
        try:
            adapter.validate_python(reading)
        except ValidationError:
            continue
        return reading
    return text


def _readings(text: str) -> list[Any]:
    readings: list[Any] = [text, [part.strip() for part in text.split(",") if part.strip()]]
    if text.lstrip().startswith(("[", "{")):
        try:
            return [json.loads(text), *readings]
        except json.JSONDecodeError:
            return readings
    return readings


def _missing(made: Choice, typed: Mapping[str, Any]) -> None:
    lacking = [name for name, info in made.task.model_fields.items() if info.is_required() and name not in typed]
    if lacking:
        meant = "; ".join(
            f"{name}=... ({made.task.model_fields[name].description or 'must be given'})" for name in lacking
        )
        raise UsageError(f"the task of {made.name} lacks {meant}. Type them, or --toy to try it on a small task")


def _files(task: Task) -> None:
    for name in type(task).model_fields:
        value = getattr(task, name)
        for path in value if isinstance(value, list | tuple) else (value,):
            if isinstance(path, Path) and not path.exists():
                raise UsageError(
                    f"there is no file {path} ({name}) in {Path.cwd()}; type where it lies, or --toy for a small task"
                )


def _limits(typed: Any) -> dict[str, Any]:
    """Limits as ``name=value`` words, as text with commas, or as a mapping."""
    if isinstance(typed, Mapping):
        pairs = dict(typed)
    else:
        parts = [part for text in ([typed] if isinstance(typed, str) else typed) for part in text.split(",")]
        pairs = {}
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals:
                raise UsageError(f"'{part}' is no limit; type --limit seconds=60,memory_mb=4096")
            pairs[name.strip()] = value.strip()
    for name in pairs:
        if name not in Limits.model_fields:
            raise UsageError(unknown("limit", name, list(Limits.model_fields)))
    return pairs
