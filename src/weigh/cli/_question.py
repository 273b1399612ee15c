"""From what was typed to a `Question`: a YAML file, FIELD=VALUE words and flags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from weigh import catalog
from weigh.choice import Choice, Task, UsageError, unknown
from weigh.engine import Limits

if TYPE_CHECKING:
    from weigh.question import Question

TOYS = Path(".weigh/toy")
NOTHING = "none"
PLACES = {
    "ledger": "a file such as '.weigh/ledger.db', or a database URL",
    "records": "a folder, or nothing at all to write no record",
    "engine": "local or ray",
    "address": "HOST:PORT of a Ray cluster, or local",
    "workers": "a whole number of at least 1",
}
"""What a file may say besides the question: where the run is kept, and where its trials run."""
_KINDS: dict[str, Any] = {"records": str | None, "workers": int}


class Typed(NamedTuple):
    """A question, the task fields that were typed (with `--toy` those that differ from the toy task), and what a file
    says of where it runs and is kept: `PLACES`, with None as `records` for no record."""

    question: Question
    own: dict[str, Any]
    kept: dict[str, Any]


def read(
    what: str, words: Sequence[str], task_file: str | None, toy: bool, given: Mapping[str, Any], trust: bool = False
) -> Typed:
    """The question that was typed; what stands on the command line goes before what stands in a file.

    Args:
        what: a choice, or a YAML file that holds a question.
        words: ``field=value`` of the task.
        task_file: a YAML file with fields of the task.
        toy: take the choice's toy task for what is not given.
        given: flags by the names that `Question` has; None where not typed.
        trust: unpickle the task's model.

    Raises:
        UsageError: something that was typed cannot work.
    """
    from weigh.question import ask, make_task

    fields: dict[str, Any] = _from_file(Path(what)) if what.endswith((".yaml", ".yml")) else {"choice": what}
    kept = {name: fields.pop(name) for name in PLACES if name in fields}
    fields |= {name: value for name, value in given.items() if value not in (None, ())}
    listed = fields.pop("task", None) or {}
    if "limits" in fields:
        fields["limits"] = _limits(fields["limits"])
    question = ask(**fields)
    made = catalog.choice(question.choice)
    question = question.model_copy(update={"require": _require(made, question)})
    typed = listed | (_mapping(Path(task_file), "type where it lies") if task_file else {}) | _words(made, words)
    given_by_toy = toy_task(made, question.seed).model_dump(mode="json", exclude_unset=True) if toy else {}
    typed = given_by_toy | typed | (_trusted(made) if trust else {})
    _missing(made, typed)
    task = make_task(made, typed)
    shown = task.model_dump(mode="json", exclude_unset=True)
    own = {name: value for name, value in shown.items() if name not in given_by_toy or value != given_by_toy[name]}
    return Typed(question.model_copy(update={"task": shown}), own, kept)


def _trusted(made: Choice) -> dict[str, Any]:
    if "trust" not in made.task.model_fields:
        raise UsageError(f"{made.name} reads no model file, so that there is nothing to trust; leave --trust out")
    return {"trust": True}


def _require(made: Choice, question: Question) -> tuple[str, ...] | None:
    """The constraints, once each can be read and the objective exists; `none` alone stands for none at all."""
    from pydantic import ValidationError

    from weigh.constraint import Constraint

    if question.objective:
        made.measure(question.objective)
    if NOTHING in (wanted := question.require or ()):
        if len(wanted) > 1:
            raise UsageError(f"'none' asks for no constraint, but {len(wanted)} are given; type one or the other")
        return ()
    for text in wanted:
        try:
            Constraint.parse(text, made.measures)
        except ValidationError as error:
            raise UsageError(f"the constraint '{text}' cannot be used: {catalog.plain(error)}") from None
    return question.require


def toy_task(made: Choice, seed: int) -> Task:
    """The choice's toy task, written under `.weigh/toy`."""
    folder = TOYS / f"{made.name.replace('/', '-')}-{seed}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return made.toy(folder, seed)
    except OSError as error:
        raise UsageError(
            f"the toy task cannot be written to {folder.resolve()}: {error.strerror or error}; go to a folder that you "
            f"may write to (cd ~), or give the task's own fields (`weigh options {made.name}` lists them)"
        ) from None


def _from_file(path: Path) -> dict[str, Any]:
    from weigh.question import Question

    fields = _mapping(path, f"`weigh decide CHOICE ... --print yaml > {path}` writes one")
    known = [*Question.model_fields, *PLACES]
    for name in fields:
        if name not in known:
            raise UsageError(f"{path}: {unknown('key', name, known, 'of a run')}")
    if not isinstance(fields.get("choice"), str):
        raise UsageError(f"{path} names no choice; add a line such as 'choice: monitor/drift'")
    task = fields.get("task")
    if task is not None and not (isinstance(task, dict) and all(isinstance(name, str) for name in task)):
        raise UsageError(f"{path}: task={task!r:.80} cannot be used: give 'field: value' lines below it")
    for name in PLACES:
        if name in fields and not isinstance(fields[name], _KINDS.get(name, str)):
            raise UsageError(f"{path}: {name}={fields[name]!r:.80} cannot be used: give {PLACES[name]}")
    return fields


def _mapping(path: Path, otherwise: str) -> dict[str, Any]:
    import yaml

    from weigh.cli._yaml import load

    if not path.is_file():
        raise UsageError(f"there is no file {path}; {otherwise}")
    try:
        loaded = load(path.read_text(encoding="utf-8"))
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
    """The reading of a text that suits the field, or else the one that comes nearest to it."""
    from pydantic import TypeAdapter, ValidationError

    info = made.task.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
    depths: list[int] = []
    readings = list(_readings(text))
    for reading in readings:
        try:
            adapter.validate_python(reading)
        except ValidationError as error:
            depths.append(max(len(one["loc"]) for one in error.errors()))
        else:
            return reading
    return readings[depths.index(max(depths))]


def _readings(text: str) -> Iterator[Any]:
    """A text as JSON, as it stands, as nothing, as a list with commas, and as ``name:value`` pairs with commas."""
    if text.lstrip().startswith(("[", "{")):
        try:
            yield json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"'{text}' is no JSON: {error}; lists are typed as a,b, and pairs as a:1,b:2") from None
    yield text
    if text in ("none", "null"):
        yield None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    yield parts
    pairs = [part.partition(":") for part in parts]
    if pairs and all(colon for _, colon, _ in pairs):
        yield {name.strip(): value.strip() for name, _, value in pairs}


def _missing(made: Choice, typed: Mapping[str, Any]) -> None:
    lacking = [name for name, info in made.task.model_fields.items() if info.is_required() and name not in typed]
    if lacking:
        meant = "; ".join(
            f"{name}=... ({made.task.model_fields[name].description or 'must be given'})" for name in lacking
        )
        raise UsageError(f"the task of {made.name} lacks {meant}. Type them, or --toy to try it on a small task")


def _limits(typed: Any) -> dict[str, Any]:
    """Limits as ``name=value`` words, as text with commas, or as a mapping."""
    if isinstance(typed, dict):
        pairs = [(str(name), value) for name, value in typed.items()]
    elif isinstance(typed, str | list | tuple) and all(isinstance(item, str) for item in typed):
        items = [typed] if isinstance(typed, str) else typed
        pairs = [_limit(part) for text in items for part in text.split(",")]
    else:
        raise UsageError(f"limits={typed!r:.80} cannot be used; type seconds=60,memory_mb=4096")
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in Limits.model_fields:
            raise UsageError(unknown("limit", name, list(Limits.model_fields)))
        if name in found:
            raise UsageError(f"the limit {name} is given twice, as {found[name]} and {value}; type it once")
        found[name] = value
    return found


def _limit(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise UsageError(f"'{part}' is no limit; type --limit seconds=60,memory_mb=4096")
    return name.strip(), value.strip()
