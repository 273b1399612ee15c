"""ONNX Runtime on the CPU and nowhere else: answers of a model, and the times of its runs."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

    Feed: TypeAlias = Mapping[str, NDArray[np.generic]]

PROVIDER = "CPUExecutionProvider"


def load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session with so many threads, which sleep between runs so that the other sessions are not disturbed.

    Raises:
        RuntimeError: ONNX Runtime took another provider than the CPU's.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    if session.get_providers() != [PROVIDER]:
        raise RuntimeError(f"the session runs on {session.get_providers()}, not on {PROVIDER} alone")
    return session


class Session:
    """One model file, ready to run.

    Args:
        path: the .onnx file.
        output: the output to ask for.
        threads: threads of one run.
        fixed: the number of rows that the model insists on, None where any will do.
    """

    def __init__(self, path: Path, output: str, threads: int, fixed: int | None = None) -> None:
        self._session = load_session(path, threads)
        self._wanted = [output]
        self._fixed = fixed

    def answer(self, feed: Feed) -> Any:
        """The output for all rows of the feed, rows first."""
        import numpy as np

        rows = len(next(iter(feed.values())))
        if self._fixed is None or rows == self._fixed:
            return self._session.run(self._wanted, feed)[0]
        parts = []
        for start in range(0, rows, self._fixed):
            places = np.minimum(np.arange(start, start + self._fixed), rows - 1)
            parts.append(self._session.run(self._wanted, {name: values[places] for name, values in feed.items()})[0])
        return np.concatenate(parts)[:rows]

    def times(self, feed: Feed, warmup: int, runs: int) -> list[float]:
        """Milliseconds of each of `runs` runs, one after another, after `warmup` that do not count."""
        run, wanted, clock = self._session.run, self._wanted, time.perf_counter_ns
        taken = [0] * runs
        with _no_collection():
            for _ in range(warmup):
                run(wanted, feed)
            for i in range(runs):
                start = clock()
                run(wanted, feed)
                taken[i] = clock() - start
        return [nanoseconds / 1e6 for nanoseconds in taken]


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while times are taken."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
