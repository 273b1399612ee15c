"""Nets trained on five data sets, and compressed variants of each: the smallest that is still good enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._limits import Limits, at_least, at_most, each
from benchmarks.decisions.families._nets import Variant, probabilities, trained, variants
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

_FLOORS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05)
_PAIRS = ((0.01, 0.97), (0.02, 0.95), (0.03, 0.92))


class Net(NamedTuple):
    """What is trained on what.

    Attributes:
        rows, train, test: the data, rows to train on, rows to measure on.
        hidden: units of the hidden layers.
        epochs: of training.
        third: a gauge beside accuracy and agreement: `missed`, the share of rows that are of class 1 and were not
            found, or `brier`, half the squared distance of the probabilities from the truth.
        rise: how much the third gauge may rise.
        floors, pairs: how much accuracy may fall; the same with a least agreement.
        narrower: nets with so many times fewer hidden units, trained alike, are options too.
    """

    what: str
    rows: Callable[[], Rows]
    train: int
    test: int
    hidden: tuple[int, ...]
    epochs: int
    third: str
    rise: float
    floors: Sequence[float] = _FLOORS
    pairs: Sequence[tuple[float, float]] = _PAIRS
    narrower: Sequence[int] = ()


def made(name: str, net: Net) -> Family:
    """Train, compress, and ask every variant about every row."""
    learn, measure = net.rows().split(net.train, net.test)
    layers = trained(learn, net.hidden, seed=0, epochs=net.epochs)
    narrower = [
        (f"narrower-{by}", trained(learn, [width // by for width in net.hidden], seed=by, epochs=net.epochs))
        for by in net.narrower
    ]
    units = len(measure.y)
    all_variants = list(variants(layers, narrower))
    return Family(
        name=name,
        kind="compressed",
        source=f"{net.what}; {_called(net.hidden)}",
        options=tuple(one.name for one in all_variants),
        baseline="float32",
        gauges=tuple(_gauges(net.third, units)),
        exact={"size": np.array([one.size for one in all_variants])},
        values=_measured(all_variants, measure, net.third),
        objective="size",
        settings=settings(net),
        block=units // 50,
    )


def _called(hidden: Sequence[int]) -> str:
    return f"a perceptron with {' x '.join(map(str, hidden))} hidden units" if hidden else "logistic regression"


def settings(net: Net) -> tuple[Limits, ...]:
    """Floors of accuracy alone, some with a least agreement, one with all three."""
    alone = each(at_least("accuracy", floor) for floor in net.floors)
    both = [(at_least("accuracy", floor), Limit("agreement", ">=", same)) for floor, same in net.pairs]
    return (*alone, *both[:-1], (*both[-1], at_most(net.third, net.rise)))


def _gauges(third: str, units: int) -> Iterator[Gauge]:
    yield Gauge("size", "exact", "lower")
    yield Gauge("accuracy", "mean", "higher", population=units)
    yield Gauge("agreement", "mean", "higher", population=units)
    yield Gauge(third, "mean", "lower", population=units)


def _measured(asked: Sequence[Variant], rows: Rows, third: str) -> dict[str, NDArray[np.float64]]:
    """By gauge, shape (units, variants); Brier's values are rounded to half precision, which is what the table says."""
    shape, answers = (len(rows.y), len(asked)), np.empty((len(rows.y), len(asked)), dtype=np.uint8)
    brier = np.empty(shape, dtype=np.float16) if third == "brier" else None
    for place, one in enumerate(asked):
        shares = probabilities(one.layers, rows.x)
        answers[:, place] = shares.argmax(axis=1)
        if brier is not None:
            right = np.arange(shares.shape[1]) == rows.y[:, None]
            brier[:, place] = ((shares - right) ** 2).sum(axis=1) / 2
    y = rows.y[:, None]
    last = (y == 1) & (answers != 1) if brier is None else brier
    found = {"accuracy": answers == y, "agreement": answers == answers[:, :1], third: last}
    return {name: of.astype(np.float64) for name, of in found.items()}


def _census() -> Rows:
    return _sources.census()[0]


def _flights() -> Rows:
    return _sources.flights()[0]


_FASHION, _CENSUS, _YEAR = "Fashion-MNIST", "American Community Survey", "a year of flights"
_RARE = (0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003), ((0.001, 0.9985), (0.002, 0.998), (0.003, 0.997))
"""For a net that is right in 998 of 1,000 rows: a floor of a percentage point would multiply its errors by six."""

_NETS = {
    "fashion-wide": Net(_FASHION, _sources.fashion, 20_000, 50_000, (128,), 10, "brier", 0.01, narrower=(2, 4)),
    "fashion-deep": Net(_FASHION, _sources.fashion, 20_000, 50_000, (64, 32), 12, "brier", 0.02, narrower=(2,)),
    "fashion-linear": Net(_FASHION, _sources.fashion, 20_000, 50_000, (), 12, "brier", 0.005),
    "fashion-narrow": Net(_FASHION, _sources.fashion, 15_000, 55_000, (24,), 12, "brier", 0.01),
    "shuttle-small": Net("Statlog Shuttle", _sources.shuttle, 9_000, 40_000, (24, 12), 20, "missed", 0.0005, *_RARE),
    "rain-small": Net("NOAA weather", _sources.rain, 6_000, 12_000, (32, 16), 20, "brier", 0.01),
    "rain-wide": Net("NOAA weather", _sources.rain, 6_000, 12_000, (96,), 20, "missed", 0.02),
    "census-deep": Net(_CENSUS, _census, 40_000, 100_000, (64, 32), 8, "missed", 0.01, narrower=(4,)),
    "census-narrow": Net(_CENSUS, _census, 40_000, 100_000, (16,), 8, "missed", 0.02),
    "flights-deep": Net(_YEAR, _flights, 60_000, 100_000, (64, 32), 8, "missed", 0.01),
    "flights-wide": Net(_YEAR, _flights, 60_000, 100_000, (96,), 8, "missed", 0.02),
}  # fmt: skip

FAMILIES = {name: partial(made, name, net) for name, net in _NETS.items()}
