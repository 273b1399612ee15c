"""Decisions with made-up measurements, for pages to show, judged by the real rules and kept in a real ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from weigh.choice import Blocks, Curves, Exhibit, Line, Measure, Table
from weigh.decision import Constraint, Decision, Lock, OptionLock, feed, judge
from weigh.evidence import Evidence, Where
from weigh.ledger import Ledger
from weigh.verdict import finalists

HERE = Where(machine="Linux x86_64", cores=2, python="3.11.2", weigh="0.1.0")
MEASURES = (
    Measure(name="latency", unit="ms", better="lower", kind="time", meaning="median time of a run", tolerance=0.05),
    Measure(name="p95", unit="ms", better="lower", kind="quantile", q=0.95, meaning="time most runs stay under"),
    Measure(name="accuracy", unit="share", better="higher", kind="mean", meaning="share answered rightly"),
    Measure(name="size", unit="MB", better="lower", kind="exact", meaning="bytes of the files"),
)
Truth = tuple[float, float, float]
"""Median time, accuracy, size."""
MODELS: Mapping[str, Truth] = {
    "none": (4.0, 0.93, 61.0),
    "float16": (4.6, 0.93, 30.7),
    "int8_dynamic": (2.1, 0.928, 15.8),
    "int8_static:calibration=entropy,percentile=99.99": (1.5, 0.78, 15.6),
    "int8_per_channel": (1.95, 0.927, 15.9),
}


def lock(
    options: Sequence[str], require: Sequence[str] = ("accuracy >= baseline - 0.04", "size <= 50"), **changed: object
) -> Lock:
    """What was asked; `changed` fields replace the usual ones."""
    asked: dict[str, object] = {
        "choice": "compress/quantize",
        "question": "Which numbers should the model's weights be kept in?",
        "task": {"model": "models/late.onnx", "data": "data/may.parquet", "batch": 1},
        "task_fingerprint": "sha256:" + "5" * 64,
        "options": tuple(OptionLock(spec=name, source="weigh.some:Option", settings={"bits": 8}) for name in options),
        "baseline": options[0],
        "measures": MEASURES,
        "objective": "latency",
        "cost": "size",
        "constraints": tuple(map(Constraint.parse, require)),
        "alpha": 0.05,
        "epsilon": 0.05,
        "seed": 7,
        "blocks": Blocks(race=200, fresh=30),
        "assumptions": {
            "the CPU that serves has the same instructions": "weigh again on the serving machine",
            "rows arrive as the validation rows did": "monitor/drift on the inputs",
        },
        "weigh": "0.1.0",
    }
    return Lock.model_validate({**asked, **changed})


def model_values(truth: Truth) -> Callable[[np.random.Generator], dict[str, float | list[float]]]:
    """How one option is measured on a block: 5 timed runs, 40 answered rows."""

    def measure(rng: np.random.Generator) -> dict[str, float | list[float]]:
        times = truth[0] * np.exp(rng.normal(0, 0.12, 5))
        rows = (rng.random(40) < truth[1]).astype(float)
        return {
            "latency": [float(np.median(times))], "p95": times.tolist(), "accuracy": rows.tolist(), "size": truth[2],
        }  # fmt: skip

    return measure


def evidence(of: Lock, option: str, block: int, values: Mapping[str, float | list[float]], **more: object) -> Evidence:
    """One row; `more` fields replace the usual ones."""
    row: dict[str, object] = {
        "lock": of.digest(), "option": option, "settings": {"bits": 8}, "block": block, "seed": block,
        "values": dict(values), "seconds": 0.02, "memory_mb": 120.0, "where": HERE, "at": "2026-03-02T09:30:00Z",
    }  # fmt: skip
    return Evidence.model_validate({**row, **more})


def race(
    ledger: Ledger,
    asked: Lock,
    measure: Mapping[str, Callable[[np.random.Generator], Mapping[str, float | list[float]]]],
    exhibits: Sequence[Exhibit] = (),
    failing: Mapping[str, str] | None = None,
) -> Decision:
    """Race options whose measurements are drawn, judge, and keep it all; `failing` options fail for that reason."""
    running, rows = asked.race(), []
    for block in range(asked.blocks.race):
        if running.settled():
            break
        group = [_one(asked, name, block, measure, failing or {}) for name in running.wanted()]
        rows += group
        feed(running, block, group)
    for block in range(asked.blocks.race, asked.blocks.race + asked.blocks.fresh):
        rows += [_one(asked, name, block, measure, {}) for name in finalists(asked, running)]
    decision = judge(asked, rows)
    ledger.save_lock(asked)
    ledger.append(rows)
    ledger.save_decision(decision, exhibits)
    return decision


def _one(
    asked: Lock,
    name: str,
    block: int,
    measure: Mapping[str, Callable[[np.random.Generator], Mapping[str, float | list[float]]]],
    failing: Mapping[str, str],
) -> Evidence:
    if name in failing:
        return evidence(asked, name, block, {}, status="failed", reason=failing[name])
    place = list(measure).index(name)
    return evidence(asked, name, block, measure[name](np.random.default_rng([asked.seed, block, place])))


def models(folder: Path, name: str = "ledger.db") -> tuple[Ledger, Decision]:
    """The usual story: five ways to quantise a model, one of which breaks the constraint."""
    ledger = Ledger(folder / name)
    return ledger, race(ledger, lock(list(MODELS)), {k: model_values(v) for k, v in MODELS.items()}, exhibits())


def exhibits() -> list[Exhibit]:
    """A table and curves over shares."""
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return [
        Table(
            title="Artefacts",
            columns=("option", "size, MB", "time / none", "low", "high", "agrees with the original"),
            rows=tuple((k, v[2], v[0] / 4, 0.9 * v[0] / 4, None, 0.99) for k, v in MODELS.items()),
            note="Time: median ratio over the rounds, with a 95 % interval each.",
        ),
        Curves(
            title="Times of single runs",
            x="share of runs that take at most",
            y="ms",
            lines=tuple(Line(name=k, x=shares, y=tuple(v[0] * (0.8 + s) for s in shares)) for k, v in MODELS.items()),
        ),
    ]


def error_by_cadence() -> Curves:
    """A year's error under four cadences, day by day."""
    days = np.datetime64("2013-03-01") + np.arange(0, 305, 3)
    t = np.arange(len(days)) / len(days)
    rng = np.random.default_rng(1)

    def line(name: str, rise: float) -> Line:
        y = 0.18 + rise * t + 0.012 * np.sin(9 * math.pi * t) + rng.normal(0, 0.003, len(t))
        return Line(
            name=name, x=tuple(map(str, days)), y=tuple(map(float, y)),
            low=tuple(map(float, y - 0.008)), high=tuple(map(float, y + 0.008)),
        )  # fmt: skip

    lines = (line("never", 0.10), line("every 12 weeks", 0.05), line("every 4 weeks", 0.03), line("on drift", 0.02))
    return Curves(
        title="Error over the year under each cadence", x="day", y="log loss", lines=lines, note="Mean of `3` days."
    )


def drift_by_feature() -> Curves:
    """The drift of a dozen features over time: more lines than colours."""
    weeks = tuple(f"2013-{month:02d}" for month in range(1, 13))
    rng = np.random.default_rng(2)
    names = "dep_delay distance air_time hour month carrier origin dest temp wind_speed visib precip".split()
    lines = tuple(
        Line(name=name, x=weeks, y=tuple(np.abs(np.cumsum(rng.normal(0, 0.05, 12))).tolist())) for name in names
    )
    return Curves(title="Drift by feature", x="month", y="population stability index", lines=lines)


def costs() -> Table:
    """What each cadence costs in a year."""
    return Table(
        title="Costs in a year",
        columns=("cadence", "retrainings", "compute, h", "labels", "error, log loss", "low", "high"),
        rows=(
            ("never", 0, 0.0, 0, 0.231, 0.226, 0.236),
            ("every 12 weeks", 4, 0.8, 48000, 0.206, 0.201, 0.211),
            ("every 4 weeks", 12, 2.4, 144000, 0.195, 0.190, 0.200),
            ("on drift", 7, 1.4, 84000, 0.191, 0.186, 0.196),
        ),
    )
