"""The decision as a Structured MADR record: Markdown with YAML front matter, readable in a pull request, verifiable.

Format: Structured MADR 1.0.0 (https://smadr.dev); what is weigh's own stands in fields that start with ``x-``.
"""

from __future__ import annotations

import datetime
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, Field

from weigh.choice import Exhibit, Frozen, as_typed, content_digest
from weigh.data.cache import replacing
from weigh.decision import Decision, Lock
from weigh.ledger import DEFAULT, Kept, Ledger, LedgerError
from weigh.printable import printable

_DIGEST = re.compile(r"^x-digest: .*$", re.MULTILINE)


class Judged(Frozen):
    """The evidence that was judged."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    of_rows: str = Field(alias="digest", pattern="^sha256:", description="digest of all rows")
    rows: int = Field(ge=0, description="those of fresh blocks included")
    measured: int = Field(ge=0, description="blocks that were measured, over all options")


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
    evidence: Judged = Field(alias="x-evidence", description="digest and number of rows")
    exhibits: str = Field(alias="x-exhibits", description="digest of the tables and curves that are shown beside it")
    decision: str = Field(alias="x-decision", description="digest of the whole decision")
    lock: Lock = Field(alias="x-lock", description="what was fixed before the first measurement")


def write(book: Ledger, lock: Lock, folder: Path, anew: bool = False) -> None:
    """Write the record of a decision that the ledger keeps, and keep in the ledger where.

    The number in the name is the lock's, so that writers on many machines and branches never collide; and the text is
    a function of what the ledger keeps, so that all of them write the same.

    Args:
        anew: the decision is new, so that a record of another text gives way; else a person may have edited it.

    Raises:
        LedgerError: the folder cannot be written, or nothing was decided.
    """
    digest, path = lock.digest(), folder / filename(lock)
    kept = book.kept(digest)
    if kept is None:
        raise LedgerError(f"nothing is decided in {book.where} under lock {number(lock)}: there is nothing to record")
    text = rendered(lock, kept)
    try:
        if not path.exists() or (anew and path.read_bytes() != text.encode()):
            _replace(path, text)
        same = path.read_bytes() == text.encode()
    except OSError as error:
        raise LedgerError(
            f"the record cannot be written in {folder}: {error.strerror}; free some room or name another folder with "
            "--records, and type the same command again: the evidence is kept and nothing is measured twice"
        ) from None
    if same:
        book.save_record(digest, str(path), content_digest(text))


def number(lock: Lock) -> str:
    """The record's number: the start of the lock's digest."""
    return lock.digest()[7:19]


def filename(lock: Lock) -> str:
    """The record's name: number and choice."""
    return f"{number(lock)}-{re.sub('[^a-z0-9]+', '-', lock.choice.lower())}.md"


def _replace(path: Path, text: str) -> None:
    """Write a file whole and durably, or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def rendered(lock: Lock, kept: Kept) -> str:
    """The record's text: a pure function of what the ledger keeps."""
    return render(lock, kept.decision, kept.exhibits, kept.day)


def render(lock: Lock, decision: Decision, exhibits: Sequence[Exhibit], date: datetime.date) -> str:
    """The record's text: a pure function of what was locked, decided and shown, and of the day."""
    front = _front(lock, decision, exhibits, date)
    head = yaml.safe_dump(front.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True, width=110)
    text = f"---\n{head}---\n\n{_body(lock, decision, front)}\n"
    return seal(text)


def seal(text: str) -> str:
    """The text with its own digest filled in."""
    empty = _DIGEST.sub("x-digest: ''", text, count=1)
    return _DIGEST.sub(f"x-digest: {content_digest(empty)}", empty, count=1)


def _front(lock: Lock, decision: Decision, exhibits: Sequence[Exhibit], date: datetime.date) -> Front:
    what = decision.chosen or "nothing yet"
    measured = sum(standing.blocks for standing in decision.standings)
    return Front.model_validate(
        {
            "title": f"{'Use' if decision.chosen else 'Choose'} {what} for {lock.choice}",
            "description": decision.answer,
            "category": "performance",
            "tags": [filename(lock)[13:-3], "weigh"],
            "status": _status(decision),
            "created": date,
            "updated": date,
            "author": "weigh " + lock.weigh,
            "project": lock.choice.partition("/")[0],
            "x-digest": "",
            "x-risk": decision.alpha,
            "x-verdict": decision.verdict,
            "x-chosen": decision.chosen,
            "x-confidence": decision.confidence,
            "x-options-considered": {standing.option: standing.outcome for standing in decision.standings},
            "x-confirmation": decision.confirmation.status,
            "x-assumptions": decision.assumptions,
            "x-evidence": {"digest": decision.evidence, "rows": decision.rows, "measured": measured},
            "x-exhibits": content_digest([exhibit.model_dump(mode="json") for exhibit in exhibits]),
            "x-decision": decision.digest(),
            "x-lock": lock,
        }
    )


def _status(decision: Decision) -> str:
    settled = decision.verdict in ("chosen", "tie") and decision.confirmation.status != "contradicted"
    return "accepted" if settled else "proposed"


def _body(lock: Lock, decision: Decision, front: Front) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("weigh"),
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=False,
        autoescape=False,
    )
    environment.filters |= {"words": words, "code": code, "cell": cell}
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


_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|`|\||\](?=[(\[])|&(?=#?\w+;)|^[#>+*=~-](?=[#>+*=~\s-])")
_NUMBERED = re.compile(r"^(\d+)(?=[.)]\s)")


def words(value: object) -> str:
    r"""A value as plain words of Markdown: on one line, and nothing in it is markup.

    >>> words("<img src=x> beats `a|b`\n# now, 2 <= 3")
    '\\<img src=x> beats \\`a\\|b\\` # now, 2 <= 3'
    """
    return _NUMBERED.sub(r"\1\\", _MARKUP.sub(lambda sign: "\\" + sign[0], printable(str(value))))


def code(value: object) -> str:
    """A value as code of Markdown, whatever backticks are in it.

    >>> code("a"), code("`a` b")
    ('`a`', '`` `a` b ``')
    """
    text = printable(str(value)) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if text[:1] == "`" or text[-1:] == "`" else f"{fence}{text}{fence}"


def cell(markdown: str) -> str:
    r"""Code of Markdown in a cell of a table.

    >>> cell(code("a|b"))
    '`a\\|b`'
    """
    return markdown.replace("|", "\\|")


def _rejected(decision: Decision) -> str:
    gone = [f"{s.option} ({s.outcome})" for s in decision.standings if s.outcome in ("violates", "dominated", "failed")]
    return ", ".join(gone) or "nothing"


def command(lock: Lock, ledger: str = DEFAULT, records: str | None = "decisions") -> str:
    """The command line that asks the same question again; it names the ledger and the folder of records (None: no
    record is written) where they are not the usual ones."""
    words = ["weigh", "decide", lock.choice]
    words += [f"{name}={as_typed(value)}" for name, value in lock.task.items() if value not in (None, "", [], {})]
    for option in lock.options:
        words += [
            "--option",
            option.spec if option.source.startswith("weigh.") else _from_file(option.source, option.spec),
        ]
    for text in [str(constraint) for constraint in lock.constraints] or ["none"]:
        words += ["--require", text]
    words += ["--objective", lock.objective, "--epsilon", repr(lock.epsilon), "--alpha", repr(lock.alpha)]
    words += ["--seed", str(lock.seed)]
    words += ["--budget", str(lock.budget)] if str(lock.budget) else []
    words += ["--limit", str(lock.limits)] if str(lock.limits) else []
    words += ["--ledger", ledger] if ledger != DEFAULT else []
    words += ["--no-record"] if records is None else ["--records", records] if records != "decisions" else []
    return shlex.join(words)


def _from_file(source: str, spec: str) -> str:
    settings = spec.partition(":")[2]
    return source + (f":{settings}" if settings else "")
