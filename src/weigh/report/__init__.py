"""Reports: one HTML page a decision or a journey, which holds everything it shows and asks no network for anything.

>>> from weigh import Ledger
>>> from weigh.report import decision_page, write_page
>>> write_page(decision_page(Ledger("ledger.db"), "3f2a9c"), "decision.html")  # doctest: +SKIP
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weigh.choice import Exhibit, Table
from weigh.data.cache import replacing

if TYPE_CHECKING:
    from jinja2 import Environment

    from weigh.ledger import Ledger

__all__ = ["Step", "decision_page", "journey_page", "write_page"]


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a journey.

    Attributes:
        heading: what was done.
        text: plain paragraphs, a blank line between them; what stands between backticks is set as code.
        decision: the lock's digest (or its start) of the decision that was taken, if one was.
        exhibits: tables and curves that belong to this part.
        answer: what came of a part that took no decision, in a sentence: it stands on top, and in a card of its own.
    """

    heading: str
    text: str = ""
    decision: str | None = None
    exhibits: Sequence[Exhibit] = ()
    answer: str = ""


def decision_page(ledger: Ledger, lock_digest: str) -> str:
    """The page of one decision, as HTML.

    The same ledger gives the same bytes.

    Args:
        ledger: where the decision, its evidence and its exhibits are kept.
        lock_digest: of the decision's lock, whole or its start.

    Raises:
        UsageError: nothing was decided under that lock yet.
        LedgerError: there is no such lock, or a row of it was edited.
    """
    from weigh.report.view import view

    return _environment().get_template("report_decision.html.j2").render(view=view(ledger, lock_digest))


def journey_page(ledger: Ledger, title: str, steps: Sequence[Step]) -> str:
    """The page of a journey: every step with its text, its decision and its exhibits, the answers first.

    Raises:
        UsageError: nothing was decided yet under a lock that a step names.
        LedgerError: there is no such lock, or a row of it was edited.
    """
    from weigh.report.canvas import drawing
    from weigh.report.view import shown, view

    parts = []
    for index, step in enumerate(steps, 1):
        key = f"s{index}"
        made = view(ledger, step.decision, key) if step.decision else None
        with drawing():
            parts.append({"key": key, "step": step, "view": made, "exhibits": shown(f"{key}-step", step.exhibits)})
    return _environment().get_template("report_journey.html.j2").render(title=title, parts=parts)


def write_page(html: str, path: str | Path) -> Path:
    """Write a page, whole or not at all; the folder is made where it is missing."""
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return target


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from weigh.report.facts import as_shown, kept

    made = Environment(
        loader=PackageLoader("weigh"), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., object]] = {
        "paragraphs": _paragraphs, "in_backticks": _in_backticks, "breakable": _breakable,
        "as_shown": as_shown, "kept": kept,
    }  # fmt: skip
    made.filters.update(filters)
    made.tests["table"] = lambda exhibit: isinstance(exhibit, Table)
    return made


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _in_backticks(text: str) -> list[str]:
    """Text and code in turn, text first."""
    return re.split(r"`([^`\n]+)`", text)


def _breakable(name: str) -> list[str]:
    """The parts of an option's name, which may stand on lines of their own."""
    return re.split(r"(?<=[:,=/])", name)
