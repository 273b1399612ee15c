"""A trained net, and its compressed variants: rounded, pruned, factored. Forward passes are numpy's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

Matrix = NDArray[np.float32]


class Layer(NamedTuple):
    """`x @ first @ second + bias`, or `x @ first + bias` where there is no second."""

    first: Matrix
    bias: Matrix
    second: Matrix | None = None


class Variant(NamedTuple):
    """A compressed net and how many kilobytes it takes."""

    name: str
    layers: Sequence[Layer]
    size: float


def trained(rows: Rows, hidden: Sequence[int], seed: int, epochs: int = 12) -> list[Layer]:
    """A multi-layer perceptron (scikit-learn, Adam) on the rows."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(hidden, max_iter=epochs, batch_size=128, learning_rate_init=2e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(rows.x, rows.y)
    return [Layer(w.astype(np.float32), b.astype(np.float32)) for w, b in zip(net.coefs_, net.intercepts_)]


def scores(layers: Sequence[Layer], x: Matrix) -> Matrix:
    """Log-odds, shape (rows, classes); of two classes one column is made two."""
    for place, layer in enumerate(layers):
        x = x @ layer.first
        if layer.second is not None:
            x = x @ layer.second
        x = x + layer.bias
        if place < len(layers) - 1:
            x = np.maximum(x, 0.0)
    return x if x.shape[1] > 1 else np.concatenate([-x / 2, x / 2], axis=1)


def family(name: str, source: str, layers: Sequence[Layer], test: Rows, block: int) -> Family:
    """Every variant on every row: right or not, and like the float32 net or not; the cheapest by size wins."""
    made = list(variants(layers))
    answers = np.stack([scores(v.layers, test.x).argmax(axis=1) for v in made], axis=1)
    units = len(test.y) // block * block
    answers, y = answers[:units], test.y[:units, None]
    accuracy = Gauge("accuracy", "mean", "higher", population=units)
    agreement = Gauge("agreement", "mean", "higher", population=units)
    return Family(
        name=name,
        kind="compressed",
        source=source,
        options=tuple(v.name for v in made),
        baseline="float32",
        gauges=(Gauge("size", "exact", "lower"), accuracy, agreement),
        exact={"size": np.array([v.size for v in made])},
        values={
            "accuracy": (answers == y).astype(np.float64),
            "agreement": (answers == answers[:, :1]).astype(np.float64),
        },
        objective="size",
        settings=settings(),
        block=block,
    )


def settings() -> tuple[tuple[Limit, ...], ...]:
    """Floors from tight to loose, alone and with a share of answers that must stay the same."""
    floors = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)
    alone = tuple((Limit("accuracy", ">=", -floor, "difference"),) for floor in floors)
    both = ((0.01, 0.97), (0.02, 0.95), (0.05, 0.9))
    return alone + tuple(
        (Limit("accuracy", ">=", -floor, "difference"), Limit("agreement", ">=", same)) for floor, same in both
    )


def variants(layers: Sequence[Layer]) -> Iterator[Variant]:
    """The float32 net first, then every compressed one."""
    yield Variant("float32", layers, _kilobytes(layers, 32))
    half = [Layer(one.first.astype(np.float16).astype(np.float32), one.bias) for one in layers]
    yield Variant("float16", half, _kilobytes(layers, 16))
    for bits in (8, 7, 6, 5, 4, 3, 2):
        yield Variant(f"int{bits}", _each(layers, bits, False), _kilobytes(layers, bits) + 4 * len(layers) / 1000)
    for bits in (8, 6, 5, 4, 3, 2):
        scales = 4 * sum(one.first.shape[1] for one in layers) / 1000
        yield Variant(f"int{bits}-per-channel", _each(layers, bits, True), _kilobytes(layers, bits) + scales)
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        yield Variant(f"pruned-{share:g}", _pruned(layers, share), _sparse(layers, share, 32))
    for share in (0.3, 0.5, 0.7, 0.8, 0.9):
        both = _each(_pruned(layers, share), 8, True)
        yield Variant(f"pruned-{share:g}-int8", both, _sparse(layers, share, 8))
    for part in (0.05, 0.1, 0.2, 0.35, 0.5):
        low = _factored(layers, part)
        yield Variant(f"rank-{part:g}", low, _kilobytes(low, 32))
        yield Variant(f"rank-{part:g}-int8", _each(low, 8, True), _kilobytes(low, 8))


def _kilobytes(layers: Sequence[Layer], bits: int) -> float:
    weights = sum(one.first.size + (one.second.size if one.second is not None else 0) for one in layers)
    return (weights * bits / 8 + 4 * sum(one.bias.size for one in layers)) / 1000


def _sparse(layers: Sequence[Layer], share: float, bits: int) -> float:
    """What is not zero, a bit a place that says where it is, and the biases."""
    weights = sum(one.first.size for one in layers)
    return (weights / 8 + (1 - share) * weights * bits / 8 + 4 * sum(one.bias.size for one in layers)) / 1000


def _each(layers: Sequence[Layer], bits: int, per_channel: bool) -> list[Layer]:
    def rounded(w: Matrix) -> Matrix:
        top = 2 ** (bits - 1) - 1
        scale = np.abs(w).max(axis=0, keepdims=True) if per_channel else np.abs(w).max()
        scale = np.maximum(scale / top, 1e-12)
        return (np.round(w / scale) * scale).astype(np.float32)

    return [Layer(rounded(a), b, rounded(c) if c is not None else None) for a, b, c in layers]


def _pruned(layers: Sequence[Layer], share: float) -> list[Layer]:
    """The smallest weights of all layers together are set to zero."""
    level = np.quantile(np.concatenate([np.abs(one.first).ravel() for one in layers]), share)
    return [Layer(np.where(np.abs(one.first) > level, one.first, np.float32(0)), one.bias) for one in layers]


def _factored(layers: Sequence[Layer], part: float) -> list[Layer]:
    """Each matrix as a product of two of lower rank, where that is smaller."""
    made = []
    for one in layers:
        u, s, v = np.linalg.svd(one.first, full_matrices=False)
        rank = max(1, round(part * len(s)))
        fits = rank * sum(one.first.shape) < one.first.size
        made.append(Layer(u[:, :rank] * s[:rank], one.bias, v[:rank]) if fits else one)
    return made
