"""A rollout as people see it: a table of its guardrails, with intervals, that lives while they watch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weigh.server.client import Admin

STATES = {"met": "green", "broken": "red", "open": "yellow", "missing": "dim"}
EVERY = 1.0


def shown(told: dict[str, Any]) -> None:
    """Print it once."""
    from weigh import show

    show.console().print(_page(told))


def watched(admin: Admin) -> dict[str, Any]:
    """Show it until it ends; the last that was told."""
    from rich.live import Live

    from weigh import show

    told: dict[str, Any] = admin.get("/admin/rollout")
    with Live(_page(told), console=show.console(), auto_refresh=False) as live:
        while not told["rollout"]["end"]:
            time.sleep(EVERY)
            told = admin.get("/admin/rollout")
            live.update(_page(told), refresh=True)
    return told


def _page(told: dict[str, Any]) -> RenderableType:
    from pathlib import Path

    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rollout, verdict = told["rollout"], told["verdict"]
    names = [Path(rollout[side]["path"]).name for side in ("challenger", "champion")]
    lines: list[Any] = [Text(f"rollout {rollout['id']} of {names[0]} against {names[1]} ({rollout['name']})", "bold")]
    lines.append(_ramp(rollout, verdict))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "guardrail or goal", "state", "what was seen"):
        table.add_column(column)
    for one in told["standing"]:
        table.add_row(one["kind"], one["text"], Text(one["state"], STATES[one["state"]]), one["words"])
    lines.append(table)
    for name, one in told.get("unseen", {}).items():
        best = (
            ""
            if one["estimate"] is None
            else f", {one['estimate']:.3g} if they take what differs as they take the rest"
        )
        text = f"{name} if all users met it: between {one['low']:.3g} and {one['high']:.3g}{best} ({one['n']:,} copies)"
        lines.append(Text(text, "dim"))
    requests = ", ".join(f"{count:,} {arm}" for arm, count in told["requests"].items())
    lines.append(Text(f"requests: {requests or 'none yet'}", "dim"))
    end = rollout["end"] or (verdict["verdict"] if verdict else "waiting for the first requests")
    why = rollout["reason"] or (verdict["reason"] if verdict else "")
    if told.get("trouble") and not rollout["end"]:
        lines.append(Text(told["trouble"], "bold red"))
    lines.append(Text(f"{end}: {why}" if why else end, "bold red" if end in ("rolled back", "aborted") else "bold"))
    return Group(*lines)


def _ramp(rollout: dict[str, Any], verdict: dict[str, Any] | None) -> RenderableType:
    from rich.text import Text

    stages = ([0.0] if rollout["plan"]["shadow"] else []) + list(rollout["plan"]["stages"])
    here = len(stages) - 1 if rollout["end"] == "shipped" else (verdict or {}).get("stage", 0)
    text = Text("share of users: ")
    for place, share in enumerate(stages):
        style = "bold reverse" if place == here else "green" if place < here else "dim"
        text.append("shadow" if share == 0 else f"{share:.3g}", style).append(" -> " if place + 1 < len(stages) else "")
    return text
