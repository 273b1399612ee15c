"""Bring a challenger to users on evidence: start, watch or abort a rollout on a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weigh.cli._flags import json_flag, print_json

if TYPE_CHECKING:
    from weigh.rollout.plan import RolloutPlan
    from weigh.server.client import Admin

ROOT = Path(".weigh/serve")
GUARDRAILS = ("error <= baseline + 0.01",)

EPILOG = """
\b
Examples:
  weigh rollout start better.onnx
  weigh rollout start better.onnx --guardrail "error <= baseline + 0.005"
  weigh rollout start better.onnx --goal "bought > baseline" --metric bought:0,1 --shadow
  weigh rollout status --watch
  weigh rollout abort
"""


@click.group("rollout", short_help=__doc__, epilog=EPILOG)
def command() -> None:
    """Bring a challenger to users on evidence: ship, roll back, or hold while nothing can be told.

    A fresh instance of the champion, the baseline, is started beside the challenger and gets as many users; only those
    two are compared, stage by stage. The chance of a false verdict is at most alpha, however often one looks.
    """


on_flag = click.option("--on", default="", metavar="NAME", help="The model that is served, where several servers run.")
url_flag = click.option("--url", default="", help="Of a server elsewhere; with WEIGH_TOKEN, its token.")


def _admin(on: str, url: str) -> Admin:
    import os

    from weigh.choice import UsageError
    from weigh.server.client import Admin, admin_of

    if not url:
        return admin_of(on, ROOT)
    if not (token := os.environ.get("WEIGH_TOKEN")):
        raise UsageError("WEIGH_TOKEN is not set: it holds the server's token, from the file 'token' of its folder")
    return Admin(url, token)


@command.command("start")
@click.argument("challenger")
@on_flag
@url_flag
@click.option("--plan", type=click.Path(exists=True, path_type=Path), help="A plan in YAML, instead of flags.")
@click.option("--guardrail", "guardrails", multiple=True, metavar="BOUND", help="What it must keep to; repeat.")
@click.option("--goal", default="", metavar="BOUND", help="What it should better, such as 'bought > baseline'.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME:LOW,HIGH", help="Range of a metric from feedback.")
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), help="Error rate; 0.05.")
@click.option("--stages", metavar="SHARES", help="Shares of the users, such as 0.01,0.05,0.25,0.5,1.")
@click.option("--horizon", type=click.IntRange(100), help="Planned requests of each arm for the goal; 20,000.")
@click.option("--window", type=click.FloatRange(0, min_open=True), help="Seconds of a window, for quantiles; 60.")
@click.option("--memory", type=click.FloatRange(0), help="Seconds for which windows resemble each other; 2,400.")
@click.option("--shadow", is_flag=True, help="Begin with copies that no user sees.")
@json_flag
def start(
    challenger: str, on: str, url: str, plan: Path | None, guardrails: tuple[str, ...], goal: str,
    metrics: tuple[str, ...], alpha: float | None, stages: str | None, horizon: int | None,
    window: float | None, memory: float | None, shadow: bool, as_json: bool,
) -> None:  # fmt: skip
    """Start a rollout of the model CHALLENGER (a file, a folder or an MLflow URI)."""
    from weigh.choice import UsageError
    from weigh.rollout.plan import RolloutPlan

    if plan is not None:
        if guardrails or goal or metrics or alpha or stages or horizon or window or memory or shadow:
            raise UsageError("--plan says all of it: leave the other flags out, or put them into the file")
        made = RolloutPlan.from_yaml(plan.read_text(encoding="utf-8"))
    else:
        given: dict[str, Any] = {
            "goal": goal or None, "alpha": alpha, "horizon": horizon, "window": window,
            "memory": memory, "shadow": shadow or None,
            "metrics": [_metric(one) for one in metrics] or None, "stages": _stages(stages) if stages else None,
        }  # fmt: skip
        told = {name: value for name, value in given.items() if value is not None}
        made = RolloutPlan.parse(guardrails=guardrails or GUARDRAILS, **told)
    path = challenger if ":/" in challenger else str(Path(challenger).absolute())
    admin = _admin(on, url)
    begun = admin.send("POST", "/admin/rollout", {"challenger": {"path": path}, "plan": made.model_dump(mode="json")})
    if as_json:
        print_json(begun)
        return
    click.echo(f"rollout {begun['id']} is under way; `weigh rollout status --watch` shows it")
    for line in _told(made):
        click.echo(f"  {line}")


@command.command("status")
@on_flag
@url_flag
@click.option("--watch", is_flag=True, help="Until it ends.")
@json_flag
def status(on: str, url: str, watch: bool, as_json: bool) -> int:
    """Say how the last rollout stands. Exit status: 0 shipped or under way, 9 rolled back or aborted."""
    from weigh.cli._rollout import shown, watched

    admin = _admin(on, url)
    told = watched(admin) if watch and not as_json else admin.get("/admin/rollout")
    if as_json:
        print_json(told)
    elif not watch:
        shown(told)
    return 9 if told["rollout"]["end"] in ("rolled back", "aborted") else 0


@command.command("abort")
@on_flag
@url_flag
def abort(on: str, url: str) -> None:
    """End the rollout that is under way: all users meet the champion again."""
    done = _admin(on, url).send("DELETE", "/admin/rollout")
    click.echo(f"rollout {done['aborted']} is aborted; all users meet the champion")


def _told(plan: RolloutPlan) -> list[str]:
    """What was asked, in words."""
    shares = " -> ".join(f"{100 * one:g} %" for one in plan.stages)
    lines = [f"guardrail: {one.text}" for one in plan.guardrails]
    lines += [f"goal: {plan.goal.text}"] if plan.goal else ["goal: none; it ships when it does no harm"]
    lines.append(
        f"share of the users: {'copies, then ' if plan.shadow else ''}{shares}; wrong at most {plan.alpha:.0%}"
    )
    if any(one.windowed for one in plan.guardrails):
        lines.append(
            f"quantiles are compared by windows of {plan.window:g} s that are taken to resemble each other for "
            f"{plan.memory:g} s: that takes hours; --window and --memory say less where it is less"
        )
    return lines


def _metric(text: str) -> dict[str, Any]:
    from weigh.choice import UsageError

    name, _, ends = text.partition(":")
    low, _, high = ends.partition(",")
    try:
        return {"name": name, "low": float(low), "high": float(high)} if ends else {"name": name}
    except ValueError:
        raise UsageError(f"--metric {text} is no range: type --metric {name or 'revenue'}:0,100") from None


def _stages(text: str) -> list[float]:
    from weigh.choice import UsageError

    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise UsageError(f"--stages {text} are no shares: type --stages 0.01,0.05,0.25,0.5,1") from None
