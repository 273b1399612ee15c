"""A decision as programs read it: with its id, its record and what to type to run it again."""

from __future__ import annotations

import shlex

from pydantic import Field

from weigh.cli._flags import short
from weigh.decision import Decision
from weigh.ledger import public


class Answer(Decision):
    """What `decide --json` and `show --json` print: the decision, and where it is kept."""

    id: str = Field(description="as other verbs take it")
    ledger: str = Field(description="file or URL, without its password")
    record: str = Field("", description="path of the decision's record; empty where none was written")
    again: str = Field(description="the command that asks the same question again")


def answer(made: Decision, ledger: str, record: str, again: str) -> Answer:
    """The decision with what belongs to it; the command stands on one line."""
    line = shlex.join(shlex.split(again.replace("\\\n", " ")))
    kept = {"id": short(made.lock), "ledger": public(ledger), "record": record, "again": line}
    return Answer.model_validate({**made.model_dump(), **kept})
