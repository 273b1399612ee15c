"""The model run directly, in this process: what every platform must answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

    Direct: TypeAlias = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]


def direct(source: Source, threads: int, rows: int) -> Direct:
    """What answers a feed with scores, shape (rows, width).

    Args:
        rows: of one run.
    """
    if source.format == "onnx":
        from weigh.model.session import Session

        answer = Session(source.path, source.outputs[0].name, threads, rows, source.batch is not None).answer
    else:
        from weigh.model.runner import open_runner

        answer = open_runner(source.path, source, threads, rows).answer
    return lambda feed: _table(answer(feed))


def _table(values: NDArray[Any]) -> NDArray[np.float32]:
    import numpy as np

    return np.asarray(values, np.float32).reshape(len(values), -1)
