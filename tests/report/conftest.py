"""One decision and its page, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import story

from weigh.decision import Decision
from weigh.ledger import Ledger
from weigh.report import Step, decision_page, journey_page


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Decision]]:
    ledger, decision = story.models(tmp_path_factory.mktemp("told"))
    yield ledger, decision
    ledger.close()


@pytest.fixture(scope="session")
def page(told: tuple[Ledger, Decision]) -> str:
    return decision_page(told[0], told[1].lock)


@pytest.fixture(scope="session")
def journey(told: tuple[Ledger, Decision]) -> str:
    ledger, decision = told
    steps = [
        Step("Looking at the data", "A first paragraph with `code` and <b>.\n\nA second one."),
        Step("A smaller model", "It has to fit.", decision.lock, [story.drift_by_feature()]),
        Step("When to train again", exhibits=[story.error_by_cadence(), story.costs()]),
    ]
    return journey_page(ledger, "A year of flights & more", steps)
