"""Activation ranges: by the share of values within, or by least loss of information (Kullback-Leibler divergence).

ONNX Runtime's own entropy calibration has as many bins as levels by default, so that it clips nothing (its issue 9597),
and takes seconds a tensor with more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.compress.quantize import Calibration
from weigh.compress.quantize._graph import quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 4096
FEWEST = 10


Ranges: TypeAlias = "dict[str, tuple[np.float32, np.float32]]"
Passes: TypeAlias = "Callable[[], Iterator[tuple[str, NDArray[Any]]]]"
"""Gives the values of each activation, some at a time, as often as it is called."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """What an activation was over all calibration rows; `counts` has shape (bins,), `edges` (bins + 1,)."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    least: float
    greatest: float


def entropy_ranges(passes: Passes) -> Ranges:
    """The range of every activation that loses least information, by name."""
    ranges = {}
    for name, one in histograms(passes).items():
        most = clip_at(one.counts, one.edges, levels=256 if one.least >= 0 or one.greatest <= 0 else 128)
        ranges[name] = _within(one, -most, most)
    return ranges


def percentile_ranges(passes: Passes, percentile: float) -> Ranges:
    """The range of every activation that holds so many percent of its values, by name."""
    import numpy as np

    tail = (100 - percentile) / 200
    ranges = {}
    for name, one in histograms(passes).items():
        share = np.cumsum(one.counts) / one.counts.sum()
        first, last = np.searchsorted(share, (tail, 1 - tail))
        ranges[name] = _within(one, one.edges[first], one.edges[last + 1])
    return ranges


def widest_ranges(passes: Passes) -> Ranges:
    """From the least to the greatest value of every activation, by name."""
    import numpy as np

    return {name: (np.float32(low), np.float32(high)) for name, (low, high) in _ends(passes).items()}


def _within(one: Histogram, low: float, high: float) -> tuple[np.float32, np.float32]:
    import numpy as np

    return np.float32(max(one.least, low)), np.float32(min(one.greatest, high))


def histograms(passes: Passes) -> dict[str, Histogram]:
    """Every activation over the calibration rows: one pass for how far they go, one to count.

    ONNX Runtime's calibrators keep all activations of all rows until they count, or let the bins grow without bound.
    """
    import numpy as np

    ends = _ends(passes)
    most = {name: max(-low, high) or 1.0 for name, (low, high) in ends.items()}
    counts = {name: np.zeros(BINS, np.int64) for name in ends}
    for name, values in passes():
        counts[name] += np.histogram(values, BINS, (-most[name], most[name]))[0]
    return {name: Histogram(counts[name], np.linspace(-most[name], most[name], BINS + 1), *ends[name]) for name in ends}


def _ends(passes: Passes) -> dict[str, tuple[float, float]]:
    import numpy as np

    ends: dict[str, tuple[float, float]] = {}
    for name, values in passes():
        least, greatest = ends.get(name, (np.inf, -np.inf))
        ends[name] = min(least, float(values.min())), max(greatest, float(values.max()))
    return ends


def of_graph(model: Path, calibration: Calibration, folder: Path) -> Passes:
    """Passes over the float activations of an ONNX model, by tensor name."""
    return lambda: _activations(model, calibration, folder)


def _activations(model: Path, calibration: Calibration, folder: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each activation of each batch, by tensor name."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    augmented = folder / "augmented.onnx"
    with quiet():
        calibrator = create_calibrator(model, None, str(augmented), calibrate_method=CalibrationMethod.Entropy)
    augmented.unlink()
    names = sorted(calibrator.tensors_to_calibrate)
    for feed in calibration.batches():
        for name, values in zip(names, calibrator.infer_session.run(names, feed)):
            if values.size:
                yield name, values


def clip_at(counts: NDArray[Any], edges: NDArray[Any], levels: int) -> float:
    """The magnitude to clip at, so that the quantized values tell least apart from the true ones.

    Args:
        counts: a histogram of the values, shape (bins,), symmetric about zero, with an even number of bins.
        edges: its edges, shape (bins + 1,).
        levels: how many values the quantized magnitudes can take.

    Bins are merged until they hold ten values each: in emptier ones, chance looks like information, and all is clipped.

    Source: Migacz, GTC 2017. As there, the bin at zero counts as its neighbour: zero itself is kept exactly.
    """
    import numpy as np

    half = len(counts) // 2
    magnitudes = (counts[half:] + counts[:half][::-1]).astype(np.float64)
    while len(magnitudes) % 2 == 0 and len(magnitudes) > levels and magnitudes.sum() < FEWEST * len(magnitudes):
        magnitudes = magnitudes.reshape(-1, 2).sum(axis=1)
    magnitudes[0] = magnitudes[1]
    bins = len(magnitudes)
    ends = [*range(levels, bins, max(1, bins // 128)), bins]
    losses = [_loss(magnitudes, end, min(levels, end)) for end in ends]
    return float(edges[-1]) * ends[int(np.argmin(losses))] / bins


def _loss(magnitudes: NDArray[np.float64], end: int, levels: int) -> float:
    """Divergence of the values quantized to `levels` steps below `end` from the values clipped there."""
    import numpy as np

    inside = magnitudes[:end]
    reference = inside.copy()
    reference[-1] += magnitudes[end:].sum()
    step = np.arange(end) * levels // end
    held = inside > 0
    sums, bins = np.bincount(step, inside, levels), np.bincount(step, held, levels)
    spread = np.divide(sums, bins, out=np.zeros(levels), where=bins > 0)[step] * held
    if not spread.any():
        return np.inf
    p, q = reference / reference.sum(), spread / spread.sum()
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-4 / end))))
