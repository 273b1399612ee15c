"""Rollouts that decide, held against truth and against what others do.

``make bench-rollout [ARGS="--replays 2000 --planted 100 --minutes 300 --workers 2"]``: the deployed judge on simulated
requests of which the truth is known. Without a difference: false verdicts over `replays` rollouts of 28 days, with a
look at harm after every request. With regressions of 1, 2 and 5 points of errors and in the tail of the latency: who
rolls back, when, and how many requests the bad release served, `planted` rollouts each; in one table with a fixed test,
O'Brien and Fleming's bounds, GrowthBook's default, Kayenta's judge, and the rules of Argo Rollouts and Flagger. Then
the parts: the goal over three horizons, the ramp as Simpson's paradox, the sample ratio, and metrics that are
correlated in time (`minutes` replays each).
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from benchmarks._ask import at_least
from benchmarks._result import report, table
from benchmarks.rollout import goals, minutes, ratio, releases, simpson
from weigh.scale.interval import wilson

ALPHA = 0.05
HARD = "p50(latency) <= 1.001x baseline"
"""The guardrail that is hardest to hold: the median, which remembers longest, with next to no margin."""
TAIL = "p95(latency) <= 1.2x baseline"
_CHEAP = 20_000


def quiet(pool: ProcessPoolExecutor, replays: int) -> dict[str, Any]:
    """False verdicts where there is no difference."""
    found = list(pool.map(releases.quiet, range(replays), chunksize=10))
    count = sum(verdict != "hold" for verdict, _ in found)
    kinds = {f"false_{kind.replace(' ', '_')}": sum(one == kind for one, _ in found) for kind in ("ship", "roll back")}
    low, high = wilson(count, replays)
    return {"false_verdict_rate": count / replays, "false_verdict_low": low, "false_verdict_high": high, **kinds}


def planted(pool: ProcessPoolExecutor, replays: int) -> tuple[list[tuple[object, ...]], dict[str, Any]]:
    """Who does what with which release: rows of a table, and figures."""
    rows: list[tuple[object, ...]] = []
    figures: dict[str, Any] = {}
    for release in releases.RELEASES:
        made = {name: _judged(pool, release, replays, at) for name, at in (("weigh", 0.0), ("weigh at 10 %", 0.1))}
        made |= releases.others(release, 10 * replays, 1)
        for name, one in made.items():
            rows.append((release.name, name, one["rolled_back"], one["hours"], one["exposed"]))
            for key, value in one.items():
                if not math.isnan(value):
                    figures[f"{key}_{release.name}_{_key(name)}"] = value
        mine = made["weigh"]
        if release.name != "same":
            figures[f"power_{release.name}"] = mine["rolled_back"]
            figures[f"delay_hours_{release.name}"] = mine["hours"] if mine["rolled_back"] else None
        print(f"{release.name}: {mine}", flush=True)
    return rows, figures


def _judged(pool: ProcessPoolExecutor, release: releases.Release, replays: int, at: float) -> dict[str, float]:
    tasks = [(release, seed, at) for seed in range(replays)]
    found = list(pool.map(releases.planted, *zip(*tasks, strict=True), chunksize=5))
    hours = [hour for verdict, hour, _ in found if verdict == "roll back"]
    shipped = [hour for verdict, hour, _ in found if verdict == "ship"]
    made = {
        "rolled_back": len(hours) / replays, "hours": float(np.mean(hours)) if hours else math.nan,
        "exposed": float(np.mean([share for _, _, share in found])), "shipped": len(shipped) / replays,
        "hours_to_ship": float(np.mean(shipped)) if shipped else math.nan,
    }  # fmt: skip
    return made


def over_time(pool: ProcessPoolExecutor, replays: int) -> dict[str, Any]:
    """Metrics that resemble their neighbours: false alarms of a day, and whether a bad tail is seen."""
    made: dict[str, Any] = {}
    for memory, shared in ((0.8, 0.0), (0.95, 0.0), (0.95, 0.5)):
        found = list(
            pool.map(minutes.one, [(HARD, memory, shared, seed) for seed in range(1, replays + 1)], chunksize=5)
        )
        name = f"false_ar_{memory:g}" + ("_half_shared" if shared else "")
        made[name] = sum(one >= 0 for one in found) / replays
        print(f"{name}: {made[name]:.4f}", flush=True)
    for memory in (0.0, 0.8):
        found = list(
            pool.map(minutes.one, [(TAIL, memory, 0.0, -seed) for seed in range(1, replays // 2)], chunksize=5)
        )
        seen = [one for one in found if one >= 0]
        made[f"tail_seen_within_a_day_ar_{memory:g}"] = len(seen) / len(found)
        made[f"tail_minutes_ar_{memory:g}"] = float(np.mean(seen)) if seen else None
    return made | minutes.of_kayenta(2000, 3)


def parts() -> dict[str, Any]:
    """The goal, Simpson's ramp, the sample ratio: many replays, since they are cheap."""
    made: dict[str, Any] = {}
    found = goals.measure(_CHEAP, 0)
    table(
        (
            "goal, daily looks",
            "false, one horizon",
            "false, three horizons",
            "power (fixed test: .80)",
            "mean time found",
        ),
        [(name, *one.values()) for name, one in found.items()],
    )
    for name, one in found.items():
        made |= {f"goal_{key}_{_key(name)}": value for key, value in one.items() if not math.isnan(value)}
    made["naive_peeking_rate"] = found["daily peeking"]["false_one_horizon"]
    for what, one in (("ramp", simpson.measure(_CHEAP, 0)), ("sample_ratio", ratio.measure(4000, 0))):
        table((what, "rate"), list(one.items()))
        made |= {f"{what}_{key}": value for key, value in one.items()}
    return made


def _key(name: str) -> str:
    """A name as part of a figure's.

    >>> _key("O'Brien-Fleming"), _key("weigh at 10 %")
    ('obrien_fleming', 'weigh_at_10')
    """
    plain = name.lower().replace("'", "").replace("%", "").replace(",", "").replace("-", " ")
    return "_".join(plain.split())


def _timed(name: str, make: Callable[[], Any]) -> Any:
    start = time.monotonic()
    made = make()
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return made


def main(arguments: Iterable[str] | None = None) -> None:
    """Simulate, print, write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--replays", type=at_least(1), default=2000, help="rollouts without any difference")
    asked.add_argument("--planted", type=at_least(1), default=100, help="rollouts of each release")
    asked.add_argument(
        "--minutes", type=at_least(4), default=300, help="days of metrics correlated in time, of each kind"
    )
    asked.add_argument("--workers", type=at_least(1), default=2, help="processes")
    given = asked.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    figures: dict[str, Any] = {"alpha": ALPHA, "replays": given.replays, "planted_replays": given.planted}
    figures |= {"minutes_replays": given.minutes} | _timed("goal, ramp, sample ratio", parts)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, mp_context=spawn) as pool:
        figures |= _timed("no difference", lambda: quiet(pool, given.replays))
        print({name: value for name, value in figures.items() if name.startswith("false_")}, flush=True)
        rows, of_planted = _timed("planted", lambda: planted(pool, given.planted))
        figures |= of_planted | _timed("correlated in time", lambda: over_time(pool, given.minutes))
    table(("release", "rule", "rolled back", "hours until then", "requests that the release served"), rows)
    report("rollout", figures)


if __name__ == "__main__":
    main()
