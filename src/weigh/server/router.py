"""Which arm answers a request, and the arms themselves: loaded, swapped and ended as the routing file says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.server import routing as files
from weigh.server.arms import LOADING, Arm, Door, Down, Failed, Full, InlineArm, Late, Outcome, ProcessArm
from weigh.server.assign import Share, arm_of, place, shares
from weigh.server.log import PredictionLog
from weigh.server.routing import Challenge, Routing, Served

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.server.call import Call
    from weigh.server.language import Ask
    from weigh.server.model import Model
    from weigh.server.settings import ServerSettings
    from weigh.server.tensors import Arrays

INLINE_BELOW = 0.002
"""Seconds of a run up to which a model answers in the router's process."""
RETRY = 2.0
"""Seconds after which a change that failed is tried again."""
AT_START = 10.0
"""Seconds for which a router that starts waits for a challenger, or twice as long as the champion took."""
LOOK = 0.2
"""Seconds between two looks at the routing file."""
STATUS: dict[type[Exception], int] = {Full: 429, Down: 503, Failed: 500, Late: 504}
WHOLE = (Share("champion", 0.0, 1.0),)


@dataclass(slots=True)
class Answer:
    """What an arm gave.

    Attributes:
        arm: that the unit was assigned to.
        by: that answered: the champion in place of a canary that has no answer.
        outputs: None where nobody answered.
        status: of HTTP.
        error: why the assigned arm has no answer; empty where it has one.
    """

    arm: str
    by: Arm
    outputs: dict[str, NDArray[Any]] | None
    status: int = 200
    error: str = ""


class Router:
    """The arms of one server. Created inside a running loop."""

    def __init__(self, settings: ServerSettings, model: Model | None, now: Routing) -> None:
        self.settings, self.now = settings, now
        self.log = PredictionLog(settings.logs, most=settings.log_most)
        self.feedback = PredictionLog(settings.logs, "feedback", settings.log_most)
        self.salt = ""
        self.cut: tuple[Share, ...] = WHOLE
        self._changing = asyncio.Lock()
        self._taking: asyncio.Task[None] | None = None
        self.trouble = ""
        self.swaps = 0
        self.challenge: Challenge | None = None
        self.canary: ProcessArm | None = None
        self.baseline: ProcessArm | None = None
        self.champion: Arm = InlineArm("champion", now.champion, model) if model is not None else ProcessArm(
            "champion", now.champion, settings
        )  # fmt: skip
        self._closing: set[asyncio.Task[None]] = set()
        self._gone_dropped = 0

    async def begin(self) -> None:
        """Wait until the champion answers, then take up the challenge that was under way.

        Raises:
            Failed: the champion cannot be loaded.
        """
        start = time.monotonic()
        if isinstance(self.champion, ProcessArm):
            await self._readied(self.champion)
        if not self.settings.routing.exists():  # now that it is known to serve
            with files.changing(self.settings.routing) as change:
                change(self.now)
        if (challenge := self.now.challenge) is not None:
            try:
                await self._challenge(challenge, self.now.champion, max(AT_START, 2.0 * (time.monotonic() - start)))
            except Failed as error:
                self.now = self.now.model_copy(update={"challenge": None})  # so that `follow` tries again
                self.trouble = f"{error}; the champion serves alone, and it is tried again"

    @property
    def door(self) -> Door:
        """What clients see."""
        assert self.champion.door is not None
        return self.champion.door

    def arms(self) -> list[Arm]:
        """Those that there are now."""
        return [arm for arm in (self.champion, self.baseline, self.canary) if arm is not None]

    def state(self) -> dict[str, Any]:
        """How they are, and what was lost on the way."""
        arms = [
            {"arm": arm.name, "version": arm.version, "path": arm.served.path, "up": arm.up, "waiting": arm.waiting,
             "pid": getattr(arm, "pid", None)}
            for arm in self.arms()
        ]  # fmt: skip
        return {
            "arms": arms, "shares": {one.arm: one.high - one.low for one in self.cut}, "swaps": self.swaps,
            "trouble": self.trouble, "lost": self.log.lost, "dropped": self.dropped,
        }  # fmt: skip

    @property
    def dropped(self) -> int:
        """Copies that shadows did not take."""
        return self._gone_dropped + sum(getattr(arm, "dropped", 0) for arm in self.arms())

    def assigned(self, unit: str) -> Arm:
        """The arm of a unit."""
        if len(self.cut) == 1 and self.cut[0].arm == "champion":
            return self.champion
        name = arm_of(place(self.salt, unit), self.cut)
        found = {"canary": self.canary, "baseline": self.baseline}.get(name)
        return found if found is not None else self.champion

    def ask(self, arm: Arm, feed: Arrays, until: int, told: Callable[[Answer], None]) -> None:
        """Have the arm's answer told, or the champion's in place of a canary or baseline that has none.

        Those two get half of the time that is left, so that the champion can still answer in time.
        """
        limit, fallible = until, arm is not self.champion
        if fallible:
            now = time.monotonic_ns()
            limit = now + (until - now) // 2

        def heard(found: Outcome) -> None:
            gone = isinstance(found, Down) and arm is not self.champion  # it was swapped, and drained for too long
            if (fallible or gone) and isinstance(found, Exception):
                by = self.champion
                by.ask(feed, until, lambda other: told(_answer(arm.name, by, other, _why(found))))
            else:
                told(_answer(arm.name, arm, found))

        arm.ask(feed, limit, heard)

    def shadow(self, call: Call, feed: Arrays, outputs: Arrays) -> None:
        """Give a copy of what was answered to whoever is compared with it."""
        if (found := self._beside(call)) is not None:
            found[0].copy(found[1], feed, outputs)

    def shadow_text(self, call: Call, ask: Ask, text: str) -> None:
        """The same of a text."""
        if (found := self._beside(call)) is not None:
            found[0].copy_text(found[1], ask, text)

    def _beside(self, call: Call) -> tuple[ProcessArm, dict[str, Any]] | None:
        """Whoever gets a copy of a request, and what is logged with it.

        Baseline and canary get copies of each other's, so that both have the same to do.
        """
        challenge = call.challenge
        if challenge is None or not challenge.compare or self.challenge is None or self.challenge.id != challenge.id:
            return None
        beside = {"canary": self.baseline, "baseline": self.canary}
        arm = self.canary if challenge.mode == "shadow" else beside.get(call.arm.name)
        entry = {"id": call.id, "arm": call.arm.name, "rollout": challenge.id, "stage": challenge.stage}
        return None if arm is None else (arm, entry)

    async def follow(self) -> None:
        """Do as the routing file says, for ever."""
        path = self.settings.routing
        seen = self._stamp() if not self.trouble else None
        while True:
            await asyncio.sleep(LOOK)
            stamp = self._stamp()
            if stamp == seen:
                continue
            try:
                wanted = files.read(path)
                if wanted is not None and wanted != self.now and not await self._taken(wanted):
                    continue
                self.trouble, seen = "", stamp
            except Exception as error:  # a damaged file, a model that cannot be loaded: tried again until it can be
                self.trouble = f"{type(error).__name__}: {error}"
                await asyncio.sleep(RETRY)

    async def _taken(self, wanted: Routing) -> bool:
        """Serve as the file says; False where somebody said otherwise meanwhile."""
        self._taking = asyncio.get_running_loop().create_task(self._become(wanted))
        (found,) = await asyncio.gather(self._taking, return_exceptions=True)
        self._taking = None
        if isinstance(found, Exception):
            raise found
        return found is None

    def _stamp(self) -> tuple[int, int]:
        try:
            found = os.stat(self.settings.routing)
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)

    async def become(self, wanted: Routing) -> None:
        """Load what is new, then send requests there, then let go of what is old: no request meets a gap.

        Raises:
            Failed: a model cannot be loaded; nothing changes.
        """
        if self._taking is not None:  # a model that hangs as it is loaded keeps nobody from another one
            self._taking.cancel()
        await self._become(wanted)

    async def _become(self, wanted: Routing) -> None:
        async with self._changing:
            champion = await self._champion(wanted.champion)
            await self._challenge(wanted.challenge, wanted.champion)
            if champion is not None:
                old, self.champion = self.champion, champion
                self.swaps += 1
                self._let_go(old)
            self.now = wanted

    async def _champion(self, served: Served) -> Arm | None:
        """A new champion; None where it stays."""
        if served == self.champion.served:
            return None
        if isinstance(self.champion, InlineArm):
            from weigh.choice import UsageError
            from weigh.server.model import open_model

            try:
                made = await asyncio.to_thread(open_model, served.path, served.architecture, self.settings.threads)
            except UsageError as error:
                raise Failed(str(error)) from None
            arm: Arm = InlineArm("champion", served, made)
        else:
            arm = ProcessArm("champion", served, self.settings)
            await self._readied(arm)
        try:
            self._need_same_door(arm)
        except Failed:
            self._let_go(arm)
            raise
        return arm

    async def _challenge(self, wanted: Challenge | None, champion: Served, within: float = LOADING) -> None:
        if wanted is None or self.challenge is None or wanted.id != self.challenge.id:
            self.challenge, self.salt, self.cut = None, "", WHOLE
            for arm in (self.canary, self.baseline):
                if arm is not None:
                    self._gone_dropped += arm.dropped
                    self._let_go(arm)
            self.canary = self.baseline = None
        if wanted is None:
            return
        if self.canary is None or (self.challenge and self.challenge.mode != wanted.mode):
            fresh = [ProcessArm("canary", wanted.challenger, self.settings, wanted.mode == "shadow")]
            if wanted.mode == "split":
                fresh.append(ProcessArm("baseline", champion, self.settings))
            await self._all_ready(fresh, within)
            if self.canary is not None:
                self._let_go(self.canary)
            self.canary, self.baseline = fresh[0], fresh[1] if len(fresh) > 1 else None
        self.challenge, self.salt = wanted, wanted.id
        self.cut = shares(wanted.share) if wanted.mode == "split" and wanted.share else WHOLE

    async def _all_ready(self, fresh: list[ProcessArm], within: float) -> None:
        """Wait until all answer; where one cannot within so many seconds, none stays.

        Raises:
            Failed: one cannot be loaded, or clients could not call it.
        """
        try:
            await asyncio.gather(*(arm.ready(within) for arm in fresh))
            for arm in fresh:
                self._need_same_door(arm)
        except (Failed, asyncio.CancelledError):
            for arm in fresh:
                self._let_go(arm)
            raise

    def _need_same_door(self, arm: Arm) -> None:
        """Raises `Failed` where clients of the present champion could not call another model."""
        old, new = self.door, arm.door
        assert new is not None
        if not _fits(old, new):
            raise Failed(
                f"the new model takes and gives {_door(new)}, the present one {_door(old)}: clients could not call it"
            )

    async def _readied(self, arm: ProcessArm) -> None:
        try:
            await arm.ready()
        except Failed:
            await arm.close(0.0)
            raise
        except asyncio.CancelledError:
            self._let_go(arm)
            raise

    def _let_go(self, arm: Arm) -> None:
        task = asyncio.get_running_loop().create_task(arm.close(self.settings.drain))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End all arms, once what waits is answered."""
        for arm in self.arms():
            self._let_go(arm)
        await asyncio.gather(*self._closing, return_exceptions=True)
        self.log.close()
        self.feedback.close()


def _answer(arm: str, by: Arm, found: Outcome, error: str = "") -> Answer:
    if isinstance(found, Exception):
        return Answer(arm, by, None, STATUS[type(found)], error or _why(found))
    return Answer(arm, by, found, error=error)


def _fits(old: Door, new: Door) -> bool:
    """Whether what clients send to one model can be sent to another, and what they read is called alike."""
    if old.kind != new.kind or [one.name for one in old.outputs] != [one.name for one in new.outputs]:
        return False
    pairs = [*zip(old.inputs, new.inputs), *zip(old.outputs, new.outputs)]
    return len(old.inputs) == len(new.inputs) and all(
        a.name == b.name and a.datatype == b.datatype and len(a.shape) == len(b.shape)
        and all(after in (before, -1) or before == -1 == after for before, after in zip(a.shape, b.shape))
        for a, b in pairs
    )  # fmt: skip


def _door(door: Door) -> str:
    """What clients rely on, in words."""
    sides = (
        ", ".join(f"{one.name} {one.datatype} {list(one.shape)}" for one in side)
        for side in (door.inputs, door.outputs)
    )
    return " -> ".join(sides) if door.kind == "tensors" else "text"


def _why(error: Exception) -> str:
    """What the log says of an arm that has no answer."""
    return str(error) or {Down: "the process is gone", Late: "too late", Full: "too many wait"}[type(error)]


def wanted_of(settings: ServerSettings) -> Served:
    """The model that a server was told to serve."""
    path = settings.model if ":/" in settings.model else str(Path(settings.model).absolute())
    return Served(path=path, architecture=settings.architecture)


def started(settings: ServerSettings) -> Routing:
    """The routing that a server begins with: the file's, or else the model that it was told, alone."""
    return files.read(settings.routing) or Routing(champion=wanted_of(settings))
