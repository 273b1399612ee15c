"""What the evidence on a guardrail says, in words."""

from __future__ import annotations

from weigh.rollout.guard import Guard
from weigh.rollout.window_guard import WindowGuard


def found_of(guard: Guard, n: tuple[int, int]) -> str:
    """What was found of a guardrail: the estimate with its interval, and of how many requests."""
    counted = f"{n[0]:,} and {n[1]:,} requests" if guard.both else f"{n[1]:,} requests"
    level = guard.level if isinstance(guard, WindowGuard) else None
    said = guard.span().words("" if level is not None else guard.metric.unit)
    if not isinstance(guard, WindowGuard) or level is None:
        return f"{'difference ' if guard.both else ''}{said} from {counted}"
    unit = f" {guard.metric.unit}" if guard.metric.unit else ""
    name = f"p{100 * level:g}({guard.metric.name})"
    baseline, canary = (one.quantile(level) if one.n else None for one in guard.seen)
    times = f"{name} is {_time(canary)}{unit}" + (f", the baseline's {_time(baseline)}{unit}" if guard.both else "")
    beyond = "excess share of requests beyond the bound" if guard.both else "share of requests beyond the bound"
    return f"{times}; {beyond} {said} from {counted} in {guard.windows} windows"


def _time(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
