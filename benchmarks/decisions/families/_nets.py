"""Trained nets, and compressed variants: rounded, pruned, factored, narrower. Forward passes are numpy's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families._sources import Rows

Matrix = NDArray[np.float32]


class Layer(NamedTuple):
    """`x @ first @ second + bias`, or `x @ first + bias` where there is no second."""

    first: Matrix
    bias: Matrix
    second: Matrix | None = None

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


Net = Sequence[Layer]


class Variant(NamedTuple):
    """A compressed net and how many kilobytes it takes."""

    name: str
    layers: Net
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


def scores(layers: Net, x: Matrix) -> Matrix:
    """Log-odds, shape (rows, classes); of two classes one column is made two."""
    for place, layer in enumerate(layers):
        for matrix in layer.matrices:
            x = x @ matrix
        x = x + layer.bias
        if place < len(layers) - 1:
            x = np.maximum(x, 0.0)
    return x if x.shape[1] > 1 else np.concatenate([-x / 2, x / 2], axis=1)


def probabilities(layers: Net, x: Matrix) -> Matrix:
    """Of each class, shape (rows, classes)."""
    odds = scores(layers, x)
    odds = np.exp(odds - odds.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)


def variants(layers: Net, narrower: Sequence[tuple[str, Net]] = ()) -> Iterator[Variant]:
    """The float32 net first, then every compressed one; `narrower` are nets with fewer hidden units, by name."""
    yield Variant("float32", layers, _kilobytes(layers, 32))
    half = [Layer(one.first.astype(np.float16).astype(np.float32), one.bias) for one in layers]
    yield Variant("float16", half, _kilobytes(layers, 16))
    for bits in (8, 7, 6, 5, 4, 3, 2):
        yield Variant(f"int{bits}", rounded(layers, bits), _kilobytes(layers, bits) + _scales(layers))
    for bits in (8, 6, 5, 4, 3, 2):
        yield _per_channel(f"int{bits}-per-channel", layers, bits)
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        yield Variant(f"pruned-{share:g}", pruned(layers, share), _sparse(layers, share, 32))
    for share in (0.3, 0.5, 0.7, 0.8, 0.9):
        both = rounded(pruned(layers, share), 8, per_channel=True)
        yield Variant(f"pruned-{share:g}-int8", both, _sparse(layers, share, 8) + _scales(layers, per_channel=True))
    for part in (0.1, 0.2, 0.35, 0.5):
        low = factored(layers, part)
        yield Variant(f"rank-{part:g}", low, _kilobytes(low, 32))
        yield _per_channel(f"rank-{part:g}-int8", low, 8)
    for name, net in narrower:
        yield Variant(name, net, _kilobytes(net, 32))
        yield _per_channel(f"{name}-int8", net, 8)
        yield _per_channel(f"{name}-int4", net, 4)


def _per_channel(name: str, layers: Net, bits: int) -> Variant:
    size = _kilobytes(layers, bits) + _scales(layers, per_channel=True)
    return Variant(name, rounded(layers, bits, per_channel=True), size)


def _kilobytes(layers: Net, bits: int) -> float:
    """The weights in so many bits each, and the biases in float32."""
    weights = sum(matrix.size for one in layers for matrix in one.matrices)
    return (weights * bits / 8 + 4 * sum(one.bias.size for one in layers)) / 1000


def _scales(layers: Net, per_channel: bool = False) -> float:
    """A float32 a matrix, or one a column."""
    return 4 * sum(matrix.shape[1] if per_channel else 1 for one in layers for matrix in one.matrices) / 1000


def _sparse(layers: Net, share: float, bits: int) -> float:
    """What is not zero, a bit a place that says where it is, and the biases."""
    weights = sum(one.first.size for one in layers)
    return (weights / 8 + (1 - share) * weights * bits / 8 + 4 * sum(one.bias.size for one in layers)) / 1000


def rounded(layers: Net, bits: int, per_channel: bool = False) -> list[Layer]:
    """Weights as whole multiples of a scale, of a matrix or of each of its columns; symmetric about zero."""

    def on_grid(w: Matrix) -> Matrix:
        top = 2 ** (bits - 1) - 1
        largest = np.abs(w).max(axis=0, keepdims=True) if per_channel else np.abs(w).max()
        scale = np.maximum(largest / top, 1e-12)
        return (np.round(w / scale) * scale).astype(np.float32)

    return [Layer(on_grid(a), bias, None if b is None else on_grid(b)) for a, bias, b in layers]


def pruned(layers: Net, share: float) -> list[Layer]:
    """The smallest weights of all layers together are set to zero."""
    level = np.quantile(np.concatenate([np.abs(one.first).ravel() for one in layers]), share)
    return [Layer(np.where(np.abs(one.first) > level, one.first, np.float32(0)), one.bias) for one in layers]


def factored(layers: Net, part: float) -> list[Layer]:
    """Each matrix as a product of two of lower rank, by its singular values, where that is smaller."""
    made = []
    for one in layers:
        u, s, v = np.linalg.svd(one.first, full_matrices=False)
        rank = max(1, round(part * len(s)))
        smaller = rank * sum(one.first.shape) < one.first.size
        made.append(Layer(u[:, :rank] * s[:rank], one.bias, v[:rank]) if smaller else one)
    return made
