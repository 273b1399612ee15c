"""Checks a record: whether the ledger's evidence, judged again, gives that very text."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from weigh.choice import UsageError, content_digest
from weigh.decision import Lock, judge
from weigh.evidence import Evidence, evidence_digest
from weigh.ledger import Edited, Kept, Ledger, LedgerError
from weigh.record import Front, number, rendered, seal

_AMISS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, yaml.YAMLError)
"""What text or evidence that nobody measured makes of the code that reads or judges it."""


class Verification(NamedTuple):
    """What became of a check: exit code 0 (same verdict), 3 (edited) or 4 (evidence missing), and why."""

    code: Literal[0, 3, 4]
    text: str


def verify(path: str | Path, ledger: Ledger | str | Path) -> Verification:
    """Judge the recorded evidence again and compare with the record, byte by byte.

    Args:
        path: the record.
        ledger: the ledger that holds its evidence, or where that is; it is only read.

    Raises:
        UsageError: the file is not there.
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
    try:
        if seal(text) != text:
            return Verification(3, f"{path} was edited: its digest does not match its text")
        front = Front.model_validate(front_of(text))
        digest = front.lock.digest()
    except _AMISS as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        return Verification(3, f"{path} was edited: its front matter is not that of a record ({why})")
    return _opened(path, text, front, digest, ledger)


def front_of(text: str) -> dict[str, Any]:
    """The front matter of a record.

    Raises:
        ValueError: there is none.
    """
    if not text.startswith("---\n") or "\n---\n" not in text:
        raise ValueError("no front matter between --- lines")
    loaded = yaml.safe_load(text[4 : text.index("\n---\n", 3)])
    if not isinstance(loaded, dict):
        raise ValueError("the front matter is not a mapping")
    return loaded


def _opened(path: Path, text: str, front: Front, digest: str, ledger: Ledger | str | Path) -> Verification:
    try:
        if isinstance(ledger, Ledger):
            return _against(path, text, front, digest, ledger)
        with Ledger(ledger, readonly=True) as book:
            return _against(path, text, front, digest, book)
    except Edited as error:
        return Verification(3, str(error))
    except LedgerError as error:
        return Verification(4, f"evidence is missing: {error}")


def _against(path: Path, text: str, front: Front, digest: str, ledger: Ledger) -> Verification:
    """Digests first, so that only what was measured is judged."""
    rows, kept, written = ledger.evidence(digest), ledger.kept(digest), ledger.records(digest)
    have, wanted = len(rows), front.evidence.rows
    if have < wanted:
        return Verification(4, f"evidence is missing: {ledger.where} has {have} of {wanted} rows of {path.name}")
    if kept is None or not written:
        what = "the decision" if kept is None else "that it was written"
        return Verification(
            4, f"evidence is missing: {ledger.where} does not hold {what} of {path.name}; `weigh decide` again keeps it"
        )
    lock = ledger.lock(digest)
    if not evidence_digest(rows) == front.evidence.of_rows == kept.decision.evidence:
        return Verification(3, f"the evidence in {ledger.where} is not the evidence that {path.name} was judged on")
    if content_digest(text) not in written.values():
        return Verification(3, f"{path} was edited: it is not the text that was written when the decision was taken")
    if fault := _judged(lock, rows, kept, text):
        return Verification(3, f"{path}: {fault}{_other(lock)}")
    return Verification(0, f"verified: {have} measurements judged again give the same verdict ({kept.decision.answer})")


def _judged(lock: Lock, rows: list[Evidence], kept: Kept, text: str) -> str:
    """What is wrong with the decision or with its record; empty when both follow from the evidence."""
    try:
        decision = judge(lock, rows)
    except _AMISS as error:
        return f"its evidence cannot be judged ({type(error).__name__}), so it was edited"
    if decision != kept.decision:
        return "the decision in the ledger is not the one that its evidence gives, so one of them was edited"
    if rendered(lock, kept) != text:
        return f"judging the evidence again gives another record {number(lock)}, so it was edited"
    return ""


def _other(lock: Lock) -> str:
    """A hint for a record that another version of weigh judged."""
    here = importlib.metadata.version("weigh")
    if here == lock.weigh:
        return ""
    return (
        f" (or the rules differ: it was judged by weigh {lock.weigh}, this is {here}; pip install weigh=={lock.weigh})"
    )
