"""Looks for rollouts that are under way, and conducts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.client import Admin, Unreachable
from weigh.server.conductor import Conductor

if TYPE_CHECKING:
    from weigh.server.settings import ServerSettings

STEP = 0.5
"""Seconds between two looks."""


def conduct(settings: ServerSettings, url: str, tell: Callable[[str], None], stopping: Callable[[], bool]) -> None:
    """Conduct whatever rollout the routing names, until told to stop."""
    from weigh.server.run import token_of

    admin = Admin(url, token_of(settings.state))
    lost = Lost(admin)
    conductor: Conductor | None = None
    while not stopping():
        time.sleep(STEP)
        now = files.read(settings.routing)
        challenge = now.challenge if now is not None else None
        if challenge is None:
            conductor = None
            continue
        if conductor is None or conductor.rollout.id != challenge.id:
            conductor = Conductor(settings, rollouts.read(settings, challenge.id), lost)
            conductor.judge.begin(challenge.stage)
        verdict = conductor.step()
        if verdict.verdict != "hold":
            tell(f"rollout {challenge.id}: {verdict.verdict}: {verdict.reason}")
            conductor = None
        elif verdict.move == "advance":
            tell(f"rollout {challenge.id}: on to {verdict.share:.3g} of the traffic: {verdict.reason}")


class Lost:
    """How many answers could not be logged since the server began, whichever router was asked for them."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._before = self._now = 0
        self._pid = 0

    def __call__(self) -> int:
        try:
            told = self._admin.get("/admin/status")
        except Unreachable:
            return self._before + self._now  # a router that is being started again
        if told["pid"] != self._pid:
            self._before, self._now, self._pid = self._before + self._now, 0, told["pid"]
        self._now = told["lost"]
        return self._before + self._now
