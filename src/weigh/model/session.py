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


def load_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file that it cannot load, or a feed that it cannot take."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (*(getattr(state, name) for name in names), state.RuntimeException)


class Session:
    """One model file, ready to run.

    Args:
        path: the .onnx file.
        output: the output to ask for.
        threads: threads of one run.
        batch: rows of one run: as many as will be served, since int8_dynamic answers a row otherwise in other company,
            and since memory grows with them.
        full: the model takes exactly `batch` rows, never fewer.
    """

    def __init__(self, path: Path, output: str, threads: int, batch: int, full: bool = False) -> None:
        self._session = load_session(path, threads)
        self._wanted = [output]
        self._batch, self._full = batch, full

    def answer(self, feed: Feed) -> NDArray[Any]:
        """The output for all rows of the feed, rows first.

        Raises:
            ValueError: the output has not one answer a row.
        """
        import numpy as np

        rows, size = len(next(iter(feed.values()))), self._batch
        items = list(self._filled(feed, rows).items())
        run, wanted, length = self._session.run, self._wanted, len(items[0][1])
        starts = range(0, length, size)
        parts = [run(wanted, {name: values[start : start + size] for name, values in items})[0] for start in starts]
        for start, part in zip(starts, parts):
            asked = min(size, length - start)
            if not isinstance(part, np.ndarray) or part.shape[:1] != (asked,):
                has = f"the shape {part.shape}" if isinstance(part, np.ndarray) else f"a {type(part).__name__}"
                raise ValueError(f"the output '{wanted[0]}' is no array with one answer a row: {has} for {asked} rows")
        return np.concatenate(parts)[:rows]

    def _filled(self, feed: Feed, rows: int) -> Feed:
        """The rows, the last one repeated until they fill a batch where the model takes no fewer."""
        import numpy as np

        if not self._full or rows % self._batch == 0:
            return feed
        places = np.minimum(np.arange(-(-rows // self._batch) * self._batch), rows - 1)
        return {name: values[places] for name, values in feed.items()}

    def times(self, feed: Feed, warmup: int, runs: int) -> list[float]:
        """Milliseconds of each of `runs` runs, one after another, after `warmup` that do not count.

        Those are timed as well: the clock's own first calls would make the first run that counts the slowest.
        """
        run, wanted, clock = self._session.run, self._wanted, time.perf_counter_ns
        taken = [0] * (warmup + runs)
        with no_collection():
            for i in range(warmup + runs):
                start = clock()
                run(wanted, feed)
                taken[i] = clock() - start
        return [nanoseconds / 1e6 for nanoseconds in taken[warmup:]]


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection while times are taken."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
