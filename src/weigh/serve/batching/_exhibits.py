"""What a report shows: how latencies are spread, and how goodput goes with the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line

if TYPE_CHECKING:
    from weigh.serve.batching._bench import BatchingBench, Subject

SHARES = (*(place / 20 for place in range(1, 20)), 0.98, 0.99)
TIMES = (0.5, 1.0, 2.0, 4.0)
SECONDS, FEWEST = 1.0, 8
SEED = 20_000_003


def exhibits(bench: BatchingBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    """Curves of latencies, and of goodput by rate; the latter are replays of their own, of a second or so each."""
    if not subjects:
        return []
    return [_latencies(bench, subjects), _rates(bench, subjects)]


def _latencies(bench: BatchingBench, subjects: Mapping[str, Subject]) -> Curves:
    import numpy as np

    lines = []
    for name, subject in subjects.items():
        found = subject.outcomes or bench.replay(subject.option, SEED, 1.0, bench.task.requests)
        taken = np.quantile([one.latency * 1e3 for one in found], SHARES)
        lines.append(Line(name=name, x=SHARES, y=tuple(float(value) for value in taken)))
    return Curves(
        title="Latency that a share of requests stays under", x="share of requests", y="ms", lines=tuple(lines),
        level=bench.task.slo_ms, note="The level is the SLO. From the arrival to the whole answer, the queue included.",
    )  # fmt: skip


def _rates(bench: BatchingBench, subjects: Mapping[str, Subject]) -> Curves:
    task, lines = bench.task, []
    for name, subject in subjects.items():
        found = []
        for times in TIMES:
            count = max(FEWEST, min(task.requests, round(task.rate * times * SECONDS)))
            found.append(bench.goodput(bench.replay(subject.option, SEED, times, count), times))
        lines.append(Line(name=name, x=tuple(task.rate * times for times in TIMES), y=tuple(found)))
    return Curves(
        title="Goodput by rate", x="requests that come a second", y="requests/s within the SLO", lines=tuple(lines),
        note="One short replay a point: a sketch of where each option gives way, not a measurement of it.",
    )  # fmt: skip
