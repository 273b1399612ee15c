"""What a report shows: every artefact with its size, speed and agreement, and how its times are spread."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line, Table

if TYPE_CHECKING:
    from weigh.model.rows_bench import RowsBench, Subject
    from weigh.model.text_bench import TextBench, Written

FILES = "Files"
"""Title of the table that names each artefact with the digest of what was measured."""
FEWEST = 40
SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
ROWS = 500


def exhibits(bench: RowsBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    """A table of artefacts, the curves of their times, and where their files lie."""
    if not subjects:
        return []
    base = "none" if "none" in subjects else next(iter(subjects))
    if any(len(_shared(subject, subjects[base])) < FEWEST for subject in subjects.values()):
        _more_rounds(bench, subjects)
    return [_table(bench, subjects, base), _curves(subjects), _files(subjects)]


def _shared(subject: Subject, base: Subject) -> list[int]:
    """Rounds in which both were timed."""
    return [index for index in subject.times if index in base.times]


def _more_rounds(bench: RowsBench, subjects: Mapping[str, Subject]) -> None:
    """Time all artefacts side by side: where the race was measured by another process, or left an option early."""
    import numpy as np

    mixer, draw, names = random.Random(0), np.random.default_rng(0), list(subjects)
    for extra in range(FEWEST):
        feed = bench.rows.take(draw.integers(len(bench.rows), size=bench.task.batch))
        for name in mixer.sample(names, len(names)):
            session = bench.session(subjects[name])
            subjects[name].times[-1 - extra] = session.times(feed, bench.task.warmup, bench.task.runs)


def _table(bench: RowsBench, subjects: Mapping[str, Subject], base: str) -> Table:
    import numpy as np

    some = np.random.default_rng(0).choice(len(bench.rows), min(ROWS, len(bench.rows)), replace=False)
    feed = bench.rows.take(np.sort(some))
    original = bench.reader.answers(bench.original.answer(feed))
    left_out = bench.split.left_out
    rows = []
    for name, subject in subjects.items():
        agreed = bench.reader.match(bench.reader.answers(bench.session(subject).answer(feed)), original).mean()
        megabytes = subject.made.megabytes
        size = megabytes / subjects[base].made.megabytes
        ratio, rounds = _ratio(subject, subjects[base])
        rows.append((name, round(megabytes, 6), round(size, 3), *ratio, rounds, round(float(agreed), 4)))
    return Table(
        title="Artefacts",
        columns=(
            "option",
            "size, MB",
            f"size / {base}",
            f"time / {base}",
            "low",
            "high",
            "rounds",
            "agrees with the original",
        ),
        rows=tuple(rows),
        note=f"Time: median ratio over the rounds that timed both, batch of {bench.task.batch}, {bench.task.threads} "
        f"thread(s), with a 95 % interval each. Agreement: share of {len(original):,} rows."
        + (f" {left_out:,} rows repeat the inputs of calibration rows and judge nothing." if left_out else ""),
    )


def _files(subjects: Mapping[str, Subject] | Mapping[str, Written]) -> Table:
    return Table(
        title=FILES,
        columns=("option", "sha256", "file"),
        rows=tuple((name, subject.made.sha256, str(subject.made.path)) for name, subject in subjects.items()),
        note="A cache keeps them, which may be emptied at any time; to keep one, byte by byte as it was measured: "
        "`weigh apply last --to chosen.onnx`.",
    )


def _paces(subjects: Mapping[str, Written]) -> list[Table]:
    """Times of a token beside those of the model as it is, over the rounds that timed both; none without that."""
    base = subjects.get("none")
    both = {name: [at for at in made.times if base and at in base.times] for name, made in subjects.items()}
    if base is None or not any(both.values()):
        return []
    rows = []
    for name, made in subjects.items():
        ends: tuple[float | None, ...] = (1.0, 1.0, 1.0) if made is base else (None, None, None)
        if made is not base and both[name]:
            mine, theirs = ([statistics.median(one.times[at].steps) for at in both[name]] for one in (made, base))
            ends = _median_ratio(mine, theirs)
        rows.append((name, *(None if end is None else round(end, 3) for end in ends), len(both[name])))
    return [
        Table(
            title="Pace",
            columns=("option", "time of a token / none", "low", "high", "rounds"),
            rows=tuple(rows),
            note="Median ratio over the rounds that timed both, with a 95 % interval each: 1 within it is no gain.",
        )
    ]


def _median_ratio(mine: list[float], theirs: list[float]) -> tuple[float, float | None, float | None]:
    from weigh.scale.ratio import median_ratio

    now = median_ratio(mine, theirs, alpha=0.05)
    low, high = (end if math.isfinite(end) and end > 0 else None for end in (now.low, now.high))
    return now.estimate, low, high


def _ratio(subject: Subject, base: Subject) -> tuple[tuple[float, float | None, float | None], int]:
    both = _shared(subject, base)
    if subject is base:
        return (1.0, 1.0, 1.0), len(both)
    mine, theirs = ([statistics.median(one.times[index]) for index in both] for one in (subject, base))
    return _median_ratio(mine, theirs), len(both)


def _curves(subjects: Mapping[str, Subject]) -> Curves:
    return _spread({name: [time for one in made.times.values() for time in one] for name, made in subjects.items()})


def _spread(runs: Mapping[str, list[float]]) -> Curves:
    import numpy as np

    lines = tuple(
        Line(name=name, x=SHARES, y=tuple(np.quantile(taken, SHARES).tolist())) for name, taken in runs.items()
    )
    return Curves(
        title="Times of single runs",
        x="share of runs that take at most",
        y="ms",
        lines=lines,
        note="Runs: " + ", ".join(f"{name} {len(taken):,}" for name, taken in runs.items()) + ".",
    )


def written(bench: TextBench, subjects: Mapping[str, Written]) -> list[Exhibit]:
    """A table of artefacts of a language model, and the times of its tokens."""
    if not subjects:
        return []
    rows = tuple((name, *(round(float(one), 6) for one in made.exact.values())) for name, made in subjects.items())
    names = tuple(next(iter(subjects.values())).exact)
    table = Table(title="Artefacts", columns=("option", *(name.replace("_", " ") for name in names)), rows=rows)
    timed = {name: [step for one in made.times.values() for step in one.steps] for name, made in subjects.items()}
    timed = {name: steps for name, steps in timed.items() if steps}
    shown: list[Exhibit] = [*_paces(subjects), _spread(timed)] if timed else []
    return [table, *shown, _files(subjects)] if names else shown
