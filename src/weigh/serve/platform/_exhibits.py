"""What the race saw of each platform, for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.serve.platform import PlatformTask

if TYPE_CHECKING:
    from weigh.serve.platform._bench import Subject

QUANTILES = (0.5, 0.9, 0.95, 0.99)


def exhibits(task: PlatformTask, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
    """Times by share of requests, and what one start of each platform took."""
    timed = {name: sorted(t for _, times in one.seen.values() for t in times) for name, one in subjects.items()}
    timed = {name: times for name, times in timed.items() if times}
    lines = tuple(
        Line(name=name, x=tuple(QUANTILES), y=tuple(times[min(int(q * len(times)), len(times) - 1)] for q in QUANTILES))
        for name, times in timed.items()
    )
    rows = tuple(
        (
            name, statistics.median(rate for rate, _ in one.seen.values()) if one.seen else None, one.exact["startup"],
            one.exact["memory"], one.exact["swap_failed"], one.exact["swap_p99"],
        )
        for name, one in subjects.items()
    )  # fmt: skip
    columns = ("platform", "requests/s", "start-up s", "memory MB", "failed in a swap", "p99 in a swap ms")
    return (
        Curves(
            title="Times of requests", x="share of requests", y="ms", lines=lines,
            note=f"all windows of this process, {task.connections} connections, {task.batch} rows a request",
        ),
        Table(title="Platforms", columns=columns, rows=rows, note="medians of windows; one start and one swap of each"),
    )  # fmt: skip
