"""What is handed on."""

from __future__ import annotations

from dataclasses import dataclass

from weigh.decision import Decision, Lock
from weigh.model.artefact import Artefact
from weigh.model.source import Source
from weigh.model.task import ModelTask


@dataclass(frozen=True, slots=True)
class Chosen:
    """A decision, and what it chose.

    Attributes:
        artefact: the files that were measured.
        result: the same, opened.
        record: the path of the decision's record; empty where there is none.
    """

    lock: Lock
    made: Decision
    task: ModelTask
    artefact: Artefact
    result: Source
    record: str = ""

    @property
    def name(self) -> str:
        """The option, as it is typed."""
        return str(self.made.chosen)
