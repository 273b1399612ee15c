"""Whether two models say the same of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.server.tensors import Arrays

TOLERANCE = 0.01


def agrees(one: Arrays, other: Arrays, tolerance: float = TOLERANCE) -> bool:
    """Whether all rows get the same answer, by the first output that both have.

    Labels and texts must be equal; of scores of several classes the same one must be the greatest; single numbers may
    differ by `tolerance`, relative to the greater one or to 1.

    >>> import numpy as np
    >>> agrees({"p": np.array([[0.2, 0.8]])}, {"p": np.array([[0.4, 0.6]])})
    True
    >>> agrees({"y": np.array([[1.0]])}, {"y": np.array([[1.2]])})
    False
    """
    name = next((name for name in one if name in other), None)
    return name is not None and _same(one[name], other[name], tolerance)


def _same(one: NDArray[Any], other: NDArray[Any], tolerance: float) -> bool:
    import numpy as np

    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f" or other.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return False
    if one.ndim > 1 and one.shape[-1] > 1:
        return bool((one.argmax(-1) == other.argmax(-1)).all())
    size = np.maximum(np.maximum(np.abs(one), np.abs(other)), 1.0)
    return bool((np.abs(one - other) <= tolerance * size).all())
