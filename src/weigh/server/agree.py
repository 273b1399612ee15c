"""Whether two models say the same of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
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
    return agree_each([one], [other], tolerance)[0]


def agree_each(ones: Sequence[Arrays], others: Sequence[Arrays], tolerance: float = TOLERANCE) -> list[bool]:
    """The same of several pairs, compared together where they are of one shape.

    >>> import numpy as np
    >>> a, b = {"p": np.array([[0.2, 0.8]])}, {"p": np.array([[0.6, 0.4]])}
    >>> agree_each([a, a], [a, b])
    [True, False]
    """
    import numpy as np

    found = [False] * len(ones)
    alike: dict[Any, list[int]] = {}
    for place, (first, second) in enumerate(zip(ones, others)):
        name = next((name for name in first if name in second), None)
        if name is not None and first[name].shape == second[name].shape:
            alike.setdefault((name, first[name].shape, first[name].dtype, second[name].dtype), []).append(place)
    for (name, *_), places in alike.items():
        one, other = (np.stack([some[place][name] for place in places]) for some in (ones, others))
        for place, same in zip(places, _same(one, other, tolerance)):
            found[place] = bool(same)
    return found


def _same(one: NDArray[Any], other: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Whether all is the same, by the first axis."""
    import numpy as np

    def whole(each: Any) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.all(each, axis=tuple(range(1, np.ndim(each))))
        return found

    if one.dtype.kind != "f" or other.dtype.kind != "f":
        return whole(one == other)
    finite = whole(np.isfinite(one) & np.isfinite(other))
    if one.ndim > 2 and one.shape[-1] > 1:
        return finite & whole(one.argmax(-1) == other.argmax(-1))
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.maximum(np.abs(one), np.abs(other)), 1.0)
        return finite & whole(np.abs(one - other) <= tolerance * size)
