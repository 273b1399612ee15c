"""What a report shows: time and extra memory against the length of the sequence."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.serve._threads import inferring

if TYPE_CHECKING:
    from weigh.serve.attention._bench import AttentionBench, Subject

ROUNDS = 5


def exhibits(bench: AttentionBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    """Curves of time and of memory, and how both grow."""
    if not subjects:
        return []
    lengths = sorted(set(bench.task.lengths))
    with inferring(bench.task.threads):
        times = _times(bench, subjects, lengths)
        memory = {
            name: [bench.memory(subject.option, length) / 1e6 for length in lengths]
            for name, subject in subjects.items()
        }
    found: list[Exhibit] = [
        _curves("Time of a call", "ms", lengths, times, f"Median of {ROUNDS} rounds, {bench.task.threads} thread(s)."),
        _curves("Extra memory of a call", "MB", lengths, memory, "Beyond queries, keys, values and the output."),
    ]
    if len(lengths) > 1:
        found.append(_growth(lengths, times, memory))
    return found


def _times(bench: AttentionBench, subjects: Mapping[str, Subject], lengths: list[int]) -> dict[str, list[float]]:
    """Milliseconds by option and length; options take turns."""
    mixer, names = random.Random(0), list(subjects)
    found: dict[str, list[float]] = {name: [] for name in names}
    for length in lengths:
        given = bench.tensors(length, length)
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in mixer.sample(names, len(names)):
                taken[name].append(statistics.median(bench.times(subjects[name].option, given)))
        for name in names:
            found[name].append(statistics.median(taken[name]))
    return found


def _curves(title: str, unit: str, lengths: list[int], found: Mapping[str, list[float]], note: str) -> Curves:
    lines = tuple(Line(name=name, x=tuple(lengths), y=tuple(values)) for name, values in found.items())
    return Curves(title=title, x="tokens", y=unit, lines=lines, note=note)


def _growth(lengths: list[int], times: Mapping[str, list[float]], memory: Mapping[str, list[float]]) -> Table:
    rows = tuple((name, _power(lengths, times[name]), _power(lengths, memory[name])) for name in times)
    return Table(
        title="How both grow with the sequence",
        columns=("option", "power of the time", "power of the extra memory"),
        rows=rows,
        note=f"From {lengths[-2]:,} to {lengths[-1]:,} tokens: 1 is linear, 2 is quadratic.",
    )


def _power(lengths: list[int], values: list[float]) -> float | None:
    """The power of the length that the last two values follow."""
    if min(values[-2:]) <= 0:
        return None
    return round(math.log(values[-1] / values[-2]) / math.log(lengths[-1] / lengths[-2]), 2)
