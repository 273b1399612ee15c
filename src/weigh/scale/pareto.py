"""Which options no other option beats on every measure at once."""

from collections.abc import Mapping
from typing import Literal

Better = tuple[Literal["lower", "higher"], ...]


def pareto_front(points: Mapping[str, tuple[float, ...]], better: Better) -> set[str]:
    """Names of the points that no other point dominates: is as good in every measure and better in one.

    Equal points are all kept.

    Args:
        points: name -> one number a measure, finite.
        better: the better direction of each measure.

    Raises:
        ValueError: a point does not have one number a measure.

    >>> sorted(pareto_front({"a": (1.0, 0.9), "b": (2.0, 0.8), "c": (3.0, 0.95)}, ("lower", "higher")))
    ['a', 'c']
    """
    return set(points) - certainly_dominated({name: tuple((x, x) for x in p) for name, p in points.items()}, better)


def certainly_dominated(intervals: Mapping[str, tuple[tuple[float, float], ...]], better: Better) -> set[str]:
    """Names of the options that another option dominates wherever in its intervals the truth lies.

    One option certainly dominates another when each of its intervals is entirely as good as, or better than, the
    other's (they may touch, so that exact equal measures are equal), and one of them is entirely better.

    Args:
        intervals: name -> (low, high) a measure; low == high for an exact measure.
        better: the better direction of each measure.

    Raises:
        ValueError: an option does not have one interval a measure.

    >>> sorted(certainly_dominated({"a": ((1, 2),), "b": ((3, 4),), "c": ((1.5, 5),)}, ("lower",)))
    ['b']
    """
    costs = {name: _as_costs(name, measures, better) for name, measures in intervals.items()}
    return {name for name, own in costs.items() if any(_dominates(other, own) for other in costs.values())}


def _as_costs(name: str, measures: tuple[tuple[float, float], ...], better: Better) -> list[tuple[float, float]]:
    if len(measures) != len(better):
        raise ValueError(
            f"{name!r} has {len(measures)} measures, but {len(better)} directions are given; give one each"
        )
    return [(low, high) if way == "lower" else (-high, -low) for (low, high), way in zip(measures, better)]


def _dominates(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> bool:
    pairs = list(zip(one, other))
    return all(a[1] <= b[0] for a, b in pairs) and any(a[1] < b[0] for a, b in pairs)
