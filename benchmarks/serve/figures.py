"""What windows say of servers: their figures, how they compare with weigh's in the same rounds, and its rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.serve.windows import Window
from weigh.scale.interval import Interval
from weigh.scale.ratio import median_ratio

ALPHA = 0.05


def figures(windows: Iterable[Window]) -> dict[str, dict[str, float]]:
    """Kind of load -> figure -> value, of one server.

    `rps`, `p50` and `p99` are medians over windows, so that a moment in which the machine was busy counts as one window
    and no more; `p99_all` is of all requests of all windows; `cpu_ms` is of all processes, a request.
    """
    found = {}
    for kind, some in _by(windows, lambda one: one.kind).items():
        answered = sum(len(one.times) for one in some)
        requests = answered + sum(one.failed for one in some)
        found[kind] = {
            "rps": float(np.median([one.rate for one in some])),
            "p50": float(np.median([one.quantile(0.5) for one in some])),
            "p99": float(np.median([one.quantile(0.99) for one in some])),
            "p99_all": float(np.quantile(np.concatenate([one.times for one in some]), 0.99, method="inverted_cdf")),
            "cpu_ms": 1e3 * sum(one.cpu for one in some) / requests,
            "requests": requests,
            "failed": requests - answered,
        }
    return found


def ratio(windows: Sequence[Window], ours: str, theirs: str, kind: str, value: Callable[[Window], float]) -> Interval:
    """The median, over rounds, of our value by theirs in the same round.

    Raises:
        ValueError: a round lacks one of the two.
    """
    pair = []
    for name in (ours, theirs):
        pair.append({one.round: value(one) for one in windows if one.server == name and one.kind == kind})
    if pair[0].keys() != pair[1].keys():
        raise ValueError(f"rounds of {ours} and {theirs} at {kind} do not match: {sorted(pair[0])}, {sorted(pair[1])}")
    rounds = sorted(pair[0])
    return median_ratio([pair[0][one] for one in rounds], [pair[1][one] for one in rounds], ALPHA)


def rate(window: Window) -> float:
    """Requests a second."""
    return window.rate


def p99(window: Window) -> float:
    """The time within which 99 % were answered, in ms."""
    return window.quantile(0.99)


def rank(ratios: Mapping[str, Interval], more_is_better: bool) -> int:
    """The place of ours among all: one more than the peers that are better by the median over rounds.

    Args:
        ratios: peer -> our value by the peer's.

    >>> from weigh.scale.ratio import median_ratio
    >>> twice, half = (median_ratio([value] * 40, [1.0] * 40, 0.05) for value in (2.0, 0.5))
    >>> rank({"a": twice, "b": half}, True), rank({"a": twice, "b": twice}, False)
    (2, 3)
    """
    return 1 + sum((one.estimate < 1) if more_is_better else (one.estimate > 1) for one in ratios.values())


def sure(ratios: Mapping[str, Interval], more_is_better: bool) -> bool:
    """Whether the intervals alone put ours first."""
    return all((one.low > 1) if more_is_better else (one.high < 1) for one in ratios.values())


def plain(one: Interval) -> list[float | None]:
    """Lower end, estimate and upper end; None where nothing bounds it."""
    return [round(end, 4) if np.isfinite(end) else None for end in (one.low, one.estimate, one.high)]


def flat(by_server: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Figures by the name SERVER_FIGURE_KIND.

    >>> flat({"weigh": {"16": {"rps": 1.0}}})
    {'weigh_rps_16': 1.0}
    """
    return {
        f"{server}_{figure}_{kind}": _rounded(value)
        for server, kinds in by_server.items() for kind, row in kinds.items() for figure, value in row.items()
    }  # fmt: skip


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _by(windows: Iterable[Window], key: Callable[[Window], str]) -> dict[str, list[Window]]:
    found: dict[str, list[Window]] = {}
    for one in windows:
        found.setdefault(key(one), []).append(one)
    return found


def by_server(windows: Iterable[Window]) -> dict[str, dict[str, dict[str, float]]]:
    """Server -> kind of load -> figure -> value."""
    return {name: figures(some) for name, some in _by(windows, lambda one: one.server).items()}
