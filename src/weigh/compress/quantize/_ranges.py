"""Activation ranges by least loss of information (Kullback-Leibler divergence).

ONNX Runtime's own entropy calibration has as many bins as levels by default, so that it clips nothing (its issue 9597),
and takes seconds a tensor with more; its histograms are used here, its search is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.compress.quantize import Calibration
from weigh.compress.quantize._graph import quiet, reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 4096
FEWEST = 10


def entropy_ranges(model: Path, calibration: Calibration, folder: Path) -> dict[str, tuple[Any, Any]]:
    """The range of every float activation of the model, as numpy float32 numbers, by tensor name."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    augmented = folder / "augmented.onnx"
    with quiet():
        calibrator = create_calibrator(
            model, None, str(augmented), calibrate_method=CalibrationMethod.Entropy, extra_options={"num_bins": BINS}
        )
        calibrator.collect_data(reader(calibration))
    augmented.unlink()
    ranges = {}
    for name, (counts, edges, least, greatest, *_) in calibrator.collector.get_histogram_dict().items():
        most = clip_at(counts, edges, levels=256 if least >= 0 or greatest <= 0 else 128)
        ranges[name] = (np.float32(max(least, -most)), np.float32(min(greatest, most)))
    return ranges


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
