"""Looks for rollouts that are under way, and conducts them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.client import Admin, Unreachable
from weigh.server.conductor import Conductor, Source

if TYPE_CHECKING:
    from weigh.server.routing import Challenge
    from weigh.server.settings import ServerSettings

NICE = 10
"""Requests come first; but harm must be seen on a busy machine, too."""
PATIENCE = 2.0
"""Seconds for which a router that hangs is waited for."""
STEP = 0.5
"""Seconds between two looks."""


def conduct(
    settings: ServerSettings,
    url: str,
    tell: Callable[[str], None],
    stopping: Callable[[], bool],
    source: Source | None = None,
) -> None:
    """Conduct whatever rollout the routing names, until told to stop; `source` as of `Conductor`."""
    from weigh.server.run import token_of

    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    admin = Admin(url, token_of(settings.state))
    lost = Lost(admin)
    conductor: Conductor | None = None
    said = ""
    while not stopping():
        time.sleep(STEP)
        told, challenge = "", None
        try:
            now = files.read(settings.routing)
            challenge = now.challenge if now is not None else None
            if challenge is None:
                conductor = None
                continue
            conductor = _conducted(settings, challenge, conductor, lost, tell, source)
        except OSError as error:
            told = _troubled(admin, conductor, error)
        except Exception as error:  # a fault of ours, or a file that was damaged: nothing passes, and it is said
            told, conductor = f"it holds, as it cannot be judged: {type(error).__name__}: {error}", None
        if told and told != said:
            tell(f"rollout: {told}")
        if told != said and challenge is not None:
            _note(settings, challenge.id, told)
        said = told


def _conducted(
    settings: ServerSettings, challenge: Challenge, conductor: Conductor | None, lost: Lost,
    tell: Callable[[str], None], source: Source | None,
) -> Conductor | None:  # fmt: skip
    """One step of a rollout; its conductor, for the next one."""
    if conductor is None or conductor.rollout.id != challenge.id:
        conductor = Conductor(settings, rollouts.read(settings, challenge.id), lost, source)
        if conductor.again:
            tell(f"rollout {challenge.id}: {conductor.again}")
        conductor.judge.begin(challenge.stage)
    verdict = conductor.step()
    if verdict.verdict != "hold":
        tell(f"rollout {challenge.id}: {verdict.verdict}: {verdict.reason}")
        return None
    if verdict.move == "advance":
        tell(f"rollout {challenge.id}: on to {verdict.share:.3g} of the traffic: {verdict.reason}")
    return conductor


def _note(settings: ServerSettings, rollout: str, trouble: str) -> None:
    """Keep why a rollout is not judged, for who asks how it stands; nothing where nothing stands in its way."""
    file = rollouts.folder_of(settings, rollout) / rollouts.TROUBLE
    with contextlib.suppress(OSError), replacing(file) as temporary:  # that a disk is full was told already
        temporary.write_text(trouble, encoding="utf-8")


def _troubled(admin: Admin, conductor: Conductor | None, error: OSError) -> str:
    """What to say of a disk that refuses; a release that does harm is taken from users all the same."""
    if conductor is not None and conductor.judge.verdict().verdict == "roll back":
        try:
            admin.send("DELETE", "/admin/rollout")
        except UsageError as refusal:
            return f"{conductor.judge.verdict().reason}; it cannot be written down: {refusal}"
    return f"nothing can be written ({error.strerror or error}): it holds until there is room"


class Lost:
    """How many answers could not be logged since the server began, whichever router was asked for them."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._before = self._now = 0
        self._pid = 0

    def __call__(self) -> int:
        try:
            told = self._admin.get("/admin/status", PATIENCE)
        except Unreachable:
            return self._before + self._now  # a router that is being started again
        if told["pid"] != self._pid:
            self._before, self._now, self._pid = self._before + self._now, 0, told["pid"]
        self._now = told["lost"]
        return self._before + self._now
