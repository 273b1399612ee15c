"""The decision as a Structured MADR record: Markdown with YAML front matter, readable in a pull request, verifiable.

Format: Structured MADR 1.0.0 (https://smadr.dev); what is weigh's own stands in fields that start with ``x-``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import re
import shlex
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import ConfigDict, Field, ValidationError

from weigh.choice import Frozen, UsageError, content_digest
from weigh.data.cache import replacing
from weigh.decision import Decision, Lock, judge
from weigh.ledger import Edited, Ledger, LedgerError

_DIGEST = re.compile(r"^x-digest: .*$", re.MULTILINE)


class Front(Frozen):
    """The front matter of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    type: Literal["adr"] = "adr"
    category: str = Field(min_length=1)
    tags: tuple[str, ...] = Field(min_length=1)
    status: Literal["proposed", "accepted", "deprecated", "superseded"]
    created: datetime.date
    updated: datetime.date
    author: str = Field(min_length=1)
    project: str = Field(min_length=1)
    digest_: str = Field(alias="x-digest", description="SHA-256 of this file with this field left empty")
    risk: float = Field(alias="x-risk", gt=0, lt=0.5, description="probability of a wrong verdict, at most")
    verdict: Literal["chosen", "tie", "undecided", "none"] = Field(alias="x-verdict")
    chosen: str | None = Field(alias="x-chosen")
    confidence: str = Field(alias="x-confidence", description="how sure the answer is, in words")
    options_considered: dict[str, str] = Field(alias="x-options-considered", description="option -> outcome")
    confirmation: Literal["confirmed", "contradicted", "inconclusive", "not measured"] = Field(alias="x-confirmation")
    assumptions: dict[str, str] = Field(
        alias="x-assumptions", description="what re-opens the decision -> how it is seen"
    )
    evidence: dict[str, Any] = Field(alias="x-evidence", description="digest and number of rows")
    decision: str = Field(alias="x-decision", description="digest of the whole decision")
    lock: Lock = Field(alias="x-lock", description="what was fixed before the first measurement")


class Verification(NamedTuple):
    """What became of a check: exit code 0 (same verdict), 3 (edited) or 4 (evidence missing), and why."""

    code: Literal[0, 3, 4]
    text: str


def write(lock: Lock, decision: Decision, folder: Path) -> tuple[str, str]:
    """Write the record; its path and digest.

    The number in the name is the lock's, so that writers on many machines and branches never collide; a record
    of the same decision that a stopped run left behind stays as it is.

    Raises:
        LedgerError: the folder cannot be written.
    """
    try:
        return _write(lock, decision, folder / filename(lock))
    except OSError as error:
        raise LedgerError(
            f"the record cannot be written in {folder}: {error.strerror}; free some room or name another folder with "
            "--records, and type the same command again: the evidence is kept and nothing is measured twice"
        ) from None


def _write(lock: Lock, decision: Decision, path: Path) -> tuple[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render(lock, decision, datetime.datetime.now(datetime.UTC).date())
    if path.exists():
        earlier = path.read_text(encoding="utf-8")
        if earlier == _rendered_when(lock, decision, earlier):
            return str(path), content_digest(earlier)
    _replace(path, text)
    return str(path), content_digest(text)


def number(lock: Lock) -> str:
    """The record's number: the start of the lock's digest."""
    return lock.digest()[7:19]


def filename(lock: Lock) -> str:
    """The record's name: number and choice."""
    return f"{number(lock)}-{re.sub('[^a-z0-9]+', '-', lock.choice.lower())}.md"


def _rendered_when(lock: Lock, decision: Decision, earlier: str) -> str | None:
    """The record as it would have been written on the date that `earlier` bears; None when it bears none."""
    try:
        return render(lock, decision, datetime.date.fromisoformat(str(_front_of(earlier)["created"])))
    except (ValueError, KeyError, yaml.YAMLError):
        return None


def _replace(path: Path, text: str) -> None:
    """Write a file whole and durably, or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def render(lock: Lock, decision: Decision, date: datetime.date) -> str:
    """The record's text: a pure function of what was locked and decided."""
    front = _front(lock, decision, date)
    head = yaml.safe_dump(front.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True, width=110)
    text = f"---\n{head}---\n\n{_body(lock, decision, front)}\n"
    return seal(text)


def seal(text: str) -> str:
    """The text with its own digest filled in."""
    empty = _DIGEST.sub("x-digest: ''", text, count=1)
    return _DIGEST.sub(f"x-digest: {content_digest(empty)}", empty, count=1)


def _front(lock: Lock, decision: Decision, date: datetime.date) -> Front:
    what = decision.chosen or "nothing yet"
    measured = sum(standing.blocks for standing in decision.standings)
    return Front.model_validate(
        {
            "title": f"{'Use' if decision.chosen else 'Choose'} {what} for {lock.choice}",
            "description": decision.answer,
            "category": "performance",
            "tags": [filename(lock)[13:-3], "weigh"],
            "status": "accepted" if decision.verdict in ("chosen", "tie") else "proposed",
            "created": date,
            "updated": date,
            "author": "weigh " + lock.weigh,
            "project": lock.choice.partition("/")[0],
            "x-digest": "",
            "x-risk": decision.alpha,
            "x-verdict": decision.verdict,
            "x-chosen": decision.chosen,
            "x-confidence": f"wrong at most {decision.alpha:.2%} of the time" if decision.chosen else "not decided",
            "x-options-considered": {standing.option: standing.outcome for standing in decision.standings},
            "x-confirmation": decision.confirmation.status,
            "x-assumptions": decision.assumptions,
            "x-evidence": {"digest": decision.evidence, "rows": decision.rows, "measured": measured},
            "x-decision": decision.digest(),
            "x-lock": lock,
        }
    )


def _body(lock: Lock, decision: Decision, front: Front) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("weigh"),
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=False,
        autoescape=False,
    )
    return environment.get_template("record.md.j2").render(
        lock=lock,
        decision=decision,
        front=front,
        number=number(lock),
        objective=lock.measure(lock.objective),
        units={measure.name: measure.unit for measure in lock.measures},
        rejected=_rejected(decision),
        command=command(lock),
        filename=filename(lock),
    )


def _rejected(decision: Decision) -> str:
    gone = [f"{s.option} ({s.outcome})" for s in decision.standings if s.outcome in ("violates", "dominated", "failed")]
    return ", ".join(gone) or "nothing"


def command(lock: Lock) -> str:
    """The command line that asks the same question again."""
    words = ["weigh", "decide", lock.choice]
    words += [f"{name}={_word(value)}" for name, value in lock.task.items() if value not in (None, "", [], {})]
    for option in lock.options:
        words += ["--option", option.spec if not option.code else _from_file(option.source, option.spec)]
    for constraint in lock.constraints:
        words += ["--require", str(constraint)]
    if not lock.constraints:
        words += ["--require", "none"]
    words += [
        "--objective",
        lock.objective,
        "--epsilon",
        repr(lock.epsilon),
        "--alpha",
        repr(lock.alpha),
        "--seed",
        str(lock.seed),
    ]
    if str(lock.budget):
        words += ["--budget", str(lock.budget)]
    return shlex.join(words)


def _word(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _from_file(source: str, spec: str) -> str:
    settings = spec.partition(":")[2]
    return source + (f":{settings}" if settings else "")


def verify(path: str | Path, ledger: Ledger) -> Verification:
    """Judge the recorded evidence again and compare with the record, byte by byte.

    Raises:
        UsageError: the file is not there or is no record at all.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"the record {path} cannot be read: {error.strerror}; `weigh show` lists the records"
        ) from None
    except UnicodeDecodeError:
        return Verification(3, f"{path} was edited: it is no longer UTF-8 text")
    if seal(text) != text:
        return Verification(3, f"{path} was edited: its digest does not match its text")
    try:
        front = Front.model_validate(_front_of(text))
    except (ValueError, ValidationError, yaml.YAMLError) as error:
        return Verification(
            3, f"{path} was edited: its front matter is not that of a record ({str(error).splitlines()[0]})"
        )
    return _against_ledger(path, text, front, ledger)


def _front_of(text: str) -> dict[str, Any]:
    if not text.startswith("---\n") or "\n---\n" not in text:
        raise ValueError("no front matter between --- lines")
    loaded = yaml.safe_load(text[4 : text.index("\n---\n", 3)])
    if not isinstance(loaded, dict):
        raise ValueError("the front matter is not a mapping")
    return loaded


def _against_ledger(path: Path, text: str, front: Front, ledger: Ledger) -> Verification:
    digest = front.lock.digest()
    try:
        rows = ledger.evidence(digest)
        if len(rows) < front.evidence["rows"]:
            return Verification(
                4,
                f"evidence is missing: {ledger.where} has {len(rows)} of {front.evidence['rows']} rows of {path.name}",
            )
        written, kept = ledger.record_digest(digest), ledger.decision(digest)
        if kept is not None:
            ledger.lock(digest)
    except (Edited, ValidationError) as error:
        return Verification(3, str(error))
    decision = judge(front.lock, rows)
    if decision.evidence != front.evidence["digest"]:
        return Verification(3, f"the evidence in {ledger.where} is not the evidence that {path.name} was judged on")
    if kept is not None and kept != decision:
        return Verification(3, f"the decision in {ledger.where} is not the one that its evidence gives")
    if render(front.lock, decision, front.created) != text:
        return Verification(
            3, f"{path} was edited: judging the evidence again gives another record{_other(front.lock)}"
        )
    if written and written != content_digest(text):
        return Verification(3, f"{path} was edited: it is not the text that was written when the decision was taken")
    return Verification(0, f"verified: {len(rows)} measurements judged again give the same verdict ({decision.answer})")


def _other(lock: Lock) -> str:
    """A hint for a record that another version of weigh judged."""
    here = importlib.metadata.version("weigh")
    if here == lock.weigh:
        return ""
    return (
        f" (or the rules differ: it was judged by weigh {lock.weigh}, this is {here}; pip install weigh=={lock.weigh})"
    )
