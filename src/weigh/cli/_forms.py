"""One question in its three forms: a command line, YAML and Python."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from weigh.choice import as_typed
from weigh.cli._engine import Place
from weigh.cli._flags import LEDGER
from weigh.cli._question import NOTHING

if TYPE_CHECKING:
    from weigh.flow import Question

FORMS = ("yaml", "python", "shell")


def write(form: str, question: Question, ledger: str, records: str | None, where: Place) -> str:
    """The question in one of `FORMS`."""
    written = {"yaml": as_yaml, "python": as_python, "shell": as_shell}[form]
    return written(question, ledger, records, where)


def said(question: Question) -> dict[str, Any]:
    """What differs from the defaults, as plain values."""
    fields = question.model_dump(mode="json", exclude_defaults=True)
    return {name: fields[name] for name in type(question).model_fields if name in fields}


def as_yaml(question: Question, ledger: str, records: str | None, where: Place) -> str:
    """What `weigh decide run.yaml` reads; `records: null` stands for no record."""
    import yaml

    places = {"ledger": ledger} if ledger != LEDGER else {}
    whole = said(question) | where.said() | places | ({"records": records} if records != "decisions" else {})
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, default_flow_style=False)


def as_python(question: Question, ledger: str, records: str | None, where: Place) -> str:
    """A script that asks the same."""
    fields = said(question)
    choice, task = fields.pop("choice"), fields.pop("task", {})
    limits = fields.pop("limits", None)
    lines = [f"    {_literal(choice)},", *_dict(task)]
    lines += [f"    {name}={_literal(value)}," for name, value in fields.items()]
    if limits:
        lines.append(f"    limits=Limits({', '.join(f'{name}={value!r}' for name, value in limits.items())}),")
    if where.engine == "ray":
        given = [f"{name}={_literal(value)}" for name, value in where.said().items() if name != "engine"]
        lines.append(f"    engine=RayEngine({', '.join(given)}),")
    if ledger != LEDGER:
        lines.append(f"    ledger={_literal(ledger)},")
    if records != "decisions":
        lines.append(f"    records={_literal(records)},")
    head = "from weigh import decide\n" + ("from weigh.engine import Limits\n" if limits else "")
    head += "from weigh.engine.ray import RayEngine\n" if where.engine == "ray" else ""
    return f"{head}\ndecision = decide(\n" + "\n".join(lines) + "\n)\nprint(decision)\n"


def _dict(task: dict[str, Any]) -> list[str]:
    if not task:
        return ["    {},"]
    return ["    {", *(f"        {_literal(name)}: {_literal(value)}," for name, value in task.items()), "    },"]


def _literal(value: Any) -> str:
    """A plain value as Python has it, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(name)}: {_literal(item)}" for name, item in value.items()) + "}"
    return repr(value)


def as_shell(
    question: Question, ledger: str, records: str | None, where: Place, toy: dict[str, Any] | None = None
) -> str:
    """The command line, over as many lines as it takes; `toy` holds the fields that differ from the toy task."""
    from weigh.commands import folded

    words = ["weigh", "decide", question.choice, *(["--toy"] if toy is not None else [])]
    task = question.task if toy is None else toy
    words += [f"{name}={as_typed(value)}" for name, value in task.items() if value is not None]
    for option in question.options:
        words += ["--option", option]
    if question.require is not None:
        for text in question.require or (NOTHING,):
            words += ["--require", text]
    defaults = {name: info.default for name, info in type(question).model_fields.items()}
    for name in ("objective", "epsilon", "alpha", "seed", "budget"):
        if (value := getattr(question, name)) != defaults[name]:
            words += [f"--{name}", str(value)]
    words += ["--limit", str(question.limits)] if str(question.limits) else []
    for name, value in where.said().items():
        words += [f"--{name}", str(value)]
    words += ["--ledger", ledger] if ledger != LEDGER else []
    words += ["--no-record"] if records is None else ["--records", records] if records != "decisions" else []
    return folded(shlex.join(words))
