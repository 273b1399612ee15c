"""Conducts a rollout: reads what was logged, asks the judge, and moves the traffic as it says."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from weigh.choice import UsageError
from weigh.data.cache import kept_json, replacing
from weigh.model.registry import registered_version
from weigh.rollout.judge import Judge, Verdict
from weigh.rollout.plan import KNOWN
from weigh.rollout.shadow import Counterfactual
from weigh.server import rollouts
from weigh.server import routing as files
from weigh.server.log import KINDS, Tail
from weigh.server.rollouts import Rollout

if TYPE_CHECKING:
    from weigh.server.routing import Routing
    from weigh.server.settings import ServerSettings

A_UNIT, SHARE_OF_UNIT = 5, 0.002
"""How often a unit counts at a stage, and what share of its arm's requests it may make beyond."""
GONE = ("the process is gone", "too late", "too many wait")
REMEMBERED = 1_000_000
"""Requests whose feedback is waited for, and units that are counted."""
NS = 1e-9
AT_ONCE, PAUSE, FAR_BEHIND = 20, 0.0005, 20_000
"""Entries between two pauses, their seconds, and how many entries are no longer spread."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Source(NamedTuple):
    """Where entries are read from.

    Attributes:
        logs: the folder, with all folders in it.
        clock: which of an entry's times counts: ``m``, the monotonic one of the machine, or ``t``, that of the wall,
            where entries come from several machines.
    """

    logs: Path
    clock: Literal["m", "t"] = "m"


class Conductor:
    """One rollout, from its logs to its verdict.

    What it knows is kept after each step, together with how far the logs were read, so that a conductor that was
    killed goes on as if nothing had happened.

    Args:
        lost: gives how many answers the router could not log so far.
        source: of what was logged; the server's own log when None.
    """

    def __init__(
        self, settings: ServerSettings, rollout: Rollout, lost: Callable[[], int], source: Source | None = None
    ) -> None:
        self.settings, self.rollout, self._lost = settings, rollout, lost
        self._logs, self._clock = source or Source(settings.logs)
        self.folder = rollouts.folder_of(settings, rollout.id)
        self.judge = Judge(rollout.plan)
        self._arms: OrderedDict[str, tuple[int, bool]] = OrderedDict()
        self._agreements: OrderedDict[str, bool] = OrderedDict()
        self._unseen: dict[str, Counterfactual] = {}
        self._units: set[tuple[int, str]] = set()
        self._of_unit: dict[tuple[int, str], int] = {}
        self._taken: dict[tuple[int, str], int] = {}
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._met: dict[int, list[int]] = {}
        self._seen: dict[tuple[str, ...], list[tuple[float, ...]]] = {}
        named = [one.metric for one in rollout.plan.guardrails] + [one.metric for one in [rollout.plan.goal] if one]
        self._metrics = set(named)
        self._requests = {"champion": 0, "baseline": 0, "canary": 0}
        self._places = dict(rollout.places) if source is None else {}
        self._missing = 0
        self._promoted = ""
        self._broken = self._damaged = 0
        self._shift = 0
        self.again = ""
        kept = kept_json(self.folder / "judge.json")
        if kept is not None:
            try:
                self._resume(kept)
            except (UsageError, LookupError, TypeError, ValueError, AttributeError) as error:
                self.again = f"{self.folder / 'judge.json'} was damaged ({error}): the log is read again from its start"
        self._tails = {kind: Tail(self._logs, kind, self._places.get(kind)) for kind in KINDS}
        self._lost_before = 0 if kept is not None else lost()

    def _resume(self, kept: dict[str, Any]) -> None:
        """Go on where a conductor before stood; nothing is taken of a state that was damaged."""
        plan = self.rollout.plan
        judge = Judge(plan).restore(kept["judge"])
        unseen = {
            name: Counterfactual(plan.metric(name), plan.alpha).restore(state) for name, state in kept["unseen"].items()
        }
        places = {kind: {str(name): int(end) for name, end in kept["places"][kind].items()} for kind in KINDS}
        requests = {str(arm): int(count) for arm, count in kept["requests"].items()}
        missing, shift = int(kept["missing"]), int(kept["shift"])
        if kept["boot"] != _boot():  # the monotonic clock began anew: it goes on from where it stood
            shift = int(kept["clock"])
        self._remember(places)
        self.judge, self._unseen, self._places = judge, unseen, places
        self._requests, self._missing, self._shift = requests, missing, shift

    def _remember(self, places: dict[str, dict[str, int]]) -> None:
        """Who met whom in what was read already, for feedback that comes later."""
        begun = self.rollout.places
        for entry in Tail(self._logs, places=begun.get("predictions")).read_up_to(places["predictions"]):
            if self._ours(entry) and (entry["arm"] == "champion" or self._counts(entry)):
                self._known(entry)
        self._met.clear()  # those were counted before
        for copy in Tail(self._logs, "shadow", begun.get("shadow")).read_up_to(places["shadow"]):
            if self._ours(copy) and self.rollout.plan.shares[copy["stage"]] == 0.0:
                self._agreed(copy)
        for opinion in Tail(self._logs, "feedback", begun.get("feedback")).read_up_to(places.get("feedback", {})):
            if isinstance(opinion.get("values"), dict):
                self._first(opinion)

    def step(self) -> Verdict:
        """Read what is new, judge it, and act."""
        opinions = [one for one in self._tails["feedback"].read() if isinstance(one.get("values"), dict)]
        entries = [one for one in spread(self._tails["predictions"].read()) if self._ours(one)]
        copies = [one for one in spread(self._tails["shadow"].read()) if self._ours(one)]
        self._take(entries, copies, opinions)
        verdict = self.judge.look(self._now() * NS)
        verdict = self._heard(verdict)
        self._keep(verdict)
        return self._act(verdict)

    def _ours(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is of this rollout, and whole; those that are not whole count as lost."""
        if entry.get("rollout") != self.rollout.id or "explicit" in entry:
            return False
        stage, time_, ms = entry.get("stage"), entry.get(self._clock), entry.get("ms")
        whole = isinstance(stage, int) and 0 <= stage < len(self.rollout.plan.shares) and isinstance(time_, int)
        whole = whole and isinstance(ms, int | float) and isinstance(entry.get("id"), str)
        whole = whole and entry.get("arm") in ("champion", "baseline", "canary")
        self._broken += not whole
        return whole

    def _heard(self, verdict: Verdict) -> Verdict:
        """No release passes on a log that has gaps."""
        now = self._lost()
        damaged = self._broken + sum(tail.broken for tail in self._tails.values())
        self._missing += max(now - self._lost_before, 0) + damaged - self._damaged
        self._damaged = damaged
        self._lost_before = now
        if self._missing and verdict.verdict != "roll back":
            lost = f"{self._missing} answers could not be logged (is the disk full?) or read again"
            return self.judge.hold(f"{lost}: nothing passes on what is left")
        return verdict

    def _take(self, entries: list[Any], copies: list[Any], opinions: list[Any]) -> None:
        """Give the judge what is new: requests, copies of requests, and what came of answers."""
        for entry in entries:
            self._requests[entry["arm"]] = self._requests.get(entry["arm"], 0) + 1
        entries = [entry for entry in spread(entries) if entry["arm"] == "champion" or self._counts(entry)]
        for entry in entries:
            self._known(entry)
        for stage, (baseline, canary) in self._met.items():
            self.judge.assign(stage, baseline, canary)
        self._met.clear()
        shares = self.rollout.plan.shares
        for entry in spread(entries):
            if shares[entry["stage"]] == 0.0:
                self._observe(entry, False, {"error": _failed(entry)})
            elif entry["arm"] != "champion":
                self._observe(entry, entry["arm"] == "canary", {"error": _failed(entry), "latency": entry["ms"]})
        for copy in spread(copies):
            if shares[copy["stage"]] > 0.0 and copy["id"] not in self._arms:
                continue
            seen = {"disagreement": copy.get("disagreement")}
            if shares[copy["stage"]] == 0.0:
                seen["error"] = copy["error"]
                self._agreed(copy)
            self._observe(copy, True, seen)
        for opinion in opinions:
            opinion = opinion | {"values": self._first(opinion)}
            self._imagined(opinion)
            if (known := self._arms.get(opinion["id"])) is not None:
                self._observe(opinion | {"stage": known[0]}, known[1], opinion["values"])
        self._tell()

    def _first(self, opinion: dict[str, Any]) -> dict[str, Any]:
        """What feedback says of a request that was not said before, and that the server does not know better."""
        found = {}
        for name, value in opinion["values"].items():
            key = (opinion["id"], name)
            if name in KNOWN or name not in self._metrics or key in self._told:
                continue
            found[name] = value
            self._told[key] = None
            if len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
        return found

    def _counts(self, entry: dict[str, Any]) -> bool:
        """Whether a request is evidence.

        A unit counts a few times a stage, or .2 % of its arm's requests, so that one heavy user decides nothing. A
        baseline whose process is gone or late says nothing of the champion.
        """
        if entry["arm"] == "baseline" and entry.get("error") in GONE:
            return False
        arm, unit = (entry["stage"], entry["arm"]), (entry["stage"], str(entry.get("unit")))
        taken, of_unit = self._taken.get(arm, 0), self._of_unit.get(unit, 0)
        if of_unit >= A_UNIT + SHARE_OF_UNIT * taken:
            return False
        if unit in self._of_unit or len(self._of_unit) < REMEMBERED:
            self._of_unit[unit] = of_unit + 1
        self._taken[arm] = taken + 1
        return True

    def _agreed(self, copy: dict[str, Any]) -> None:
        """Remember whether a copy was answered as its original, for feedback that comes later."""
        if (found := copy.get("disagreement")) is not None:
            self._agreements[copy["id"]] = found == 0
            if len(self._agreements) > REMEMBERED:
                self._agreements.popitem(last=False)

    def _imagined(self, opinion: dict[str, Any]) -> None:
        """What feedback on a request says of a release that only answered its copy."""
        if (agreed := self._agreements.get(opinion["id"])) is None:
            return
        for name, value in opinion["values"].items():
            if name not in self._metrics:
                continue
            metric = self.rollout.plan.metric(name)
            if metric.low <= value <= metric.high:
                made = self._unseen.setdefault(name, Counterfactual(metric, self.rollout.plan.alpha))
                made.add([agreed], [value])

    def _observe(self, entry: dict[str, Any], canary: bool, values: dict[str, Any]) -> None:
        """Note one observation for the judge, by the metrics that it shows."""
        found = {name: value for name, value in values.items() if name in self._metrics and value is not None}
        if found:
            self._seen.setdefault(tuple(found), []).append(
                (entry["stage"], canary, self._when(entry[self._clock]) * NS, *found.values())
            )

    def _now(self) -> int:
        """Nanoseconds on the clock of the judge, which never goes back."""
        return time.monotonic_ns() + self._shift

    def _when(self, stamp: int) -> int:
        """The same of an entry; what is later than now was logged before the machine was started anew."""
        return stamp + self._shift if self._clock == "m" and stamp + self._shift <= self._now() else stamp

    def _known(self, entry: dict[str, Any]) -> None:
        """Remember whom a request met, and count each unit once a stage."""
        if entry["arm"] == "champion":
            return
        stage, canary = entry["stage"], entry["arm"] == "canary"
        self._arms[entry["id"]] = (stage, canary)
        if len(self._arms) > REMEMBERED:
            self._arms.popitem(last=False)
        unit = (stage, entry["unit"])
        if unit not in self._units and len(self._units) < REMEMBERED:
            self._units.add(unit)
            self._met.setdefault(stage, [0, 0])[canary] += 1

    def _tell(self) -> None:
        """Give the judge what was noted, in order; what lies out of its metric's range counts as missing."""
        import numpy as np

        for names, rows in self._seen.items():
            table = np.array(rows, dtype=float)
            columns = {}
            for place, name in enumerate(names):
                metric, column = self.rollout.plan.metric(name), table[:, 3 + place]
                columns[name] = np.where((column < metric.low) | (column > metric.high), np.nan, column)
            self.judge.add(table[:, 0].astype(int), table[:, 1] > 0, table[:, 2], columns)
        self._seen.clear()

    def _keep(self, verdict: Verdict) -> None:
        """Write what is known, and how it stands."""
        places = {kind: tail.places for kind, tail in self._tails.items()}
        state = {
            "judge": self.judge.state(), "places": places, "requests": self._requests, "missing": self._missing,
            "unseen": {name: one.state() for name, one in self._unseen.items()},
            "boot": _boot(), "clock": self._now(), "shift": self._shift,
        }  # fmt: skip
        with replacing(self.folder / "judge.json") as temporary:
            temporary.write_bytes(orjson.dumps(state))
        told = {
            "verdict": verdict.model_dump(mode="json"), "at": time.time(), "requests": self._requests,
            "unseen": {name: one.bounds().model_dump(mode="json") for name, one in self._unseen.items()},
            "standing": [one.model_dump(mode="json") for one in self.judge.standing()],
        }  # fmt: skip
        with replacing(self.folder / "status.json") as temporary:
            temporary.write_bytes(orjson.dumps(told))

    def _act(self, verdict: Verdict) -> Verdict:
        """Move the traffic; what was done."""
        still = {"verdict": "hold", "move": "stay", "stage": self.judge.stage}
        if verdict.verdict == "hold" and verdict.move == "stay":
            return verdict
        with files.changing(self.settings.routing) as change:
            now = files.read(self.settings.routing)
            if now is None or now.challenge is None or now.challenge.id != self.rollout.id:
                return verdict.model_copy(update={**still, "reason": "it was aborted meanwhile"})
            verdict = self._registered(verdict)
            if verdict.verdict != "hold" or verdict.move != "stay":
                change(self._moved(now, verdict))
            if verdict.move == "advance" and verdict.verdict == "hold":
                self.judge.begin(verdict.stage)
        return verdict

    def _moved(self, now: Routing, verdict: Verdict) -> Routing:
        if verdict.verdict == "ship":
            rollouts.over(self.settings, self.rollout, "shipped", verdict.reason, self._promoted)
            return now.model_copy(update={"champion": self.rollout.challenger, "challenge": None})
        if verdict.verdict == "roll back":
            rollouts.over(self.settings, self.rollout, "rolled back", verdict.reason)
            return now.model_copy(update={"challenge": None})
        return now.model_copy(update={"challenge": rollouts.challenge_of(self.rollout, verdict.stage)})

    def _registered(self, verdict: Verdict) -> Verdict:
        """A release out of MLflow's registry becomes its champion there before all users meet it here."""
        version = registered_version(self.rollout.challenger.path)
        if verdict.verdict != "ship" or version is None:
            return verdict
        from weigh.model.promotion import promote

        tags = {
            "weigh.rollout": self.rollout.id, "weigh.verdict": "ship", "weigh.reason": verdict.reason,
            "weigh.alpha": str(self.rollout.plan.alpha),
        }  # fmt: skip
        try:
            done = promote(*version, tags)
        except UsageError as error:
            return self.judge.hold(f"{verdict.reason}; not promoted: {error}")
        before = f", version {done.previous} is `previous`" if done.previous else ""
        self._promoted = f"{done.uri} is `champion` of {done.name}{before}."
        return verdict


def spread(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same, with pauses between some of them: a core that is never taken for long delays no request.

    Whoever is far behind goes on without.
    """
    for place, entry in enumerate(entries, 1):
        if place % AT_ONCE == 0 and place < FAR_BEHIND:
            time.sleep(PAUSE)
        yield entry


def _boot() -> str:
    """What tells one start of the machine from another; the same always where the system does not say."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _failed(entry: dict[str, Any]) -> float:
    """Whether the arm that a request was assigned to had no answer."""
    return float(entry["status"] >= 429 or "error" in entry)
