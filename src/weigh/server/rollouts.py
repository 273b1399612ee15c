"""Rollouts of one server on disk: what was planned, how it stands, how it ended."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from weigh.choice import Frozen, UsageError, content_digest, unknown
from weigh.data.cache import kept_json, replacing
from weigh.rollout.plan import RolloutPlan
from weigh.server.log import KINDS, Tail
from weigh.server.routing import Challenge, Routing, Served

if TYPE_CHECKING:
    from weigh.server.settings import ServerSettings

TROUBLE = "trouble.txt"
"""Why a rollout is not judged, in its folder."""
End = Literal["shipped", "rolled back", "aborted"]


class Rollout(Frozen):
    """One rollout, as its file has it."""

    id: str
    name: str = Field(description="of the model that is served")
    champion: Served
    challenger: Served
    plan: RolloutPlan
    begun: float = Field(description="seconds since 1970")
    places: dict[str, dict[str, int]] = Field({}, description="kind of log -> file -> bytes that are older than it")
    end: Literal["", "shipped", "rolled back", "aborted"] = ""
    ended: float | None = None
    reason: str = ""


def known(settings: ServerSettings) -> list[str]:
    """Ids of all rollouts, in the order in which they were begun: they are counted, as clocks may go back."""
    found = [path.parent.name for path in (settings.state / "rollouts").glob("*/rollout.json")]
    return sorted(found, key=lambda name: (_number(name), name))


def _number(rollout: str) -> int:
    """The how-many-th a rollout is, by its id."""
    return int(rollout.split("-")[0]) if rollout.split("-")[0].isdecimal() else 0


def folder_of(settings: ServerSettings, rollout: str) -> Path:
    """Where one rollout keeps its files."""
    return settings.state / "rollouts" / rollout


def planned(settings: ServerSettings, now: Routing, challenger: Served, plan: RolloutPlan) -> tuple[Rollout, Routing]:
    """A new rollout, and the routing with which it begins; nothing is written."""
    last = _number((known(settings) or ["0"])[-1])
    made = Rollout(
        id=f"{last + 1:04d}-{secrets.token_hex(2)}", name=settings.name, champion=now.champion, challenger=challenger,
        plan=plan, begun=time.time(),
        places={kind: Tail(settings.logs, kind).ends() for kind in KINDS},
    )  # fmt: skip
    return made, now.model_copy(update={"challenge": challenge_of(made, 0)})


def challenge_of(rollout: Rollout, stage: int) -> Challenge:
    """What the routing says of a rollout at one of its stages."""
    share = rollout.plan.shares[stage]
    compare = any(one.metric == "disagreement" for one in rollout.plan.guardrails)
    return Challenge(
        id=rollout.id, challenger=rollout.challenger, mode="split" if share else "shadow", stage=stage, share=share,
        compare=compare or not share,
    )  # fmt: skip


def keep(settings: ServerSettings, rollout: Rollout) -> None:
    """Write a rollout's file, whole."""
    folder = folder_of(settings, rollout.id)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "rollout.json") as temporary:
        temporary.write_text(rollout.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read(settings: ServerSettings, rollout: str) -> Rollout:
    """The rollout of that id.

    Raises:
        UsageError: there is none.
    """
    if rollout not in known(settings):
        raise UsageError(unknown("rollout", rollout, known(settings), f"of {settings.name}"))
    return Rollout.model_validate_json((folder_of(settings, rollout) / "rollout.json").read_bytes())


def latest(settings: ServerSettings) -> Rollout | None:
    """The rollout that was begun last."""
    ids = known(settings)
    return read(settings, ids[-1]) if ids else None


def over(settings: ServerSettings, rollout: Rollout, end: End, reason: str, promoted: str = "") -> Rollout:
    """The same, ended and kept, with a record of what was decided on which evidence.

    Args:
        promoted: what became of it in the registry.
    """
    made = rollout.model_copy(update={"end": end, "ended": time.time(), "reason": reason})
    with replacing(folder_of(settings, rollout.id) / "record.md") as temporary:
        temporary.write_text(_record(status_of(settings, made), made, promoted), encoding="utf-8")
    keep(settings, made)
    return made


def _record(told: dict[str, Any], rollout: Rollout, promoted: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    names = [Path(one.path).name for one in (rollout.challenger, rollout.champion)]
    made = Environment(loader=PackageLoader("weigh"), undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    return made.get_template("rollout.md.j2").render(
        rollout=rollout, standing=told["standing"], requests=told["requests"], promoted=promoted,
        title=f"Rollout {rollout.id} of {names[0]} against {names[1]}: {rollout.end}",
        day=time.strftime("%Y-%m-%d", time.gmtime(rollout.ended)), evidence=content_digest(told["standing"]),
    )  # fmt: skip


def status_of(settings: ServerSettings, rollout: Rollout) -> dict[str, Any]:
    """How it stands, as the conductor wrote it last."""
    told: dict[str, Any] = {"rollout": rollout.model_dump(mode="json")}
    found = kept_json(folder_of(settings, rollout.id) / "status.json")
    if found is None:
        found = {"verdict": None, "standing": [], "requests": {}}
    with contextlib.suppress(FileNotFoundError):
        told["trouble"] = (folder_of(settings, rollout.id) / TROUBLE).read_text(encoding="utf-8")
    return told | found
