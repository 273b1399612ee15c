"""Nets trained on five data sets, and 36 compressed variants of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._nets import family, trained
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family


def _made(
    name: str,
    what: str,
    rows: Callable[[], Rows],
    train: int,
    test: int,
    hidden: Sequence[int],
    epochs: int,
    block: int,
) -> Family:
    learn, measure = rows().split(train, test)
    net = trained(learn, hidden, seed=0, epochs=epochs)
    widths = " x ".join(map(str, hidden)) if hidden else "no"
    return family(name, f"{what}; a perceptron with {widths} hidden units", net, measure, block)


def _census() -> Rows:
    return _sources.census()[0]


def _flights() -> Rows:
    return _sources.flights()[0]


_NETS: tuple[tuple[str, str, Callable[[], Rows], int, int, tuple[int, ...], int, int], ...] = (
    ("fashion-wide", "Fashion-MNIST", _sources.fashion, 20_000, 50_000, (128,), 10, 1000),
    ("fashion-deep", "Fashion-MNIST", _sources.fashion, 20_000, 50_000, (64, 32), 12, 1000),
    ("fashion-narrow", "Fashion-MNIST", _sources.fashion, 15_000, 55_000, (24,), 12, 1000),
    ("shuttle-small", "Statlog Shuttle", _sources.shuttle, 9_000, 40_000, (24, 12), 20, 1000),
    ("shuttle-wide", "Statlog Shuttle", _sources.shuttle, 9_000, 40_000, (64,), 20, 1000),
    ("rain-small", "NOAA weather", _sources.rain, 6_000, 12_000, (32, 16), 20, 240),
    ("rain-wide", "NOAA weather", _sources.rain, 6_000, 12_000, (96,), 20, 240),
    ("census-deep", "American Community Survey", _census, 40_000, 100_000, (64, 32), 8, 2000),
    ("census-narrow", "American Community Survey", _census, 40_000, 100_000, (16,), 8, 2000),
    ("flights-deep", "a year of flights", _flights, 60_000, 100_000, (64, 32), 8, 2000),
    ("flights-wide", "a year of flights", _flights, 60_000, 100_000, (96,), 8, 2000),
)

FAMILIES = {net[0]: partial(_made, *net) for net in _NETS}
