"""What it costs those who ask meanwhile when the model is changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weigh.serve.platform import PlatformTask, Running
from weigh.serve.platform._load import Generator

if TYPE_CHECKING:
    from weigh.model.source import Source


def swapped(
    running: Running, load: Generator, requests: Sequence[bytes], source: Source, task: PlatformTask
) -> tuple[int, float]:
    """Change the model under load for another version of it; requests that failed, and p99 in ms while it changed.

    Where nobody was answered meanwhile, that is how long all of them waited for the next answer.

    Raises:
        RuntimeError: there was none.

    The other version answers alike, so that the same requests go on to be right; the platform does not know.
    """
    import numpy as np

    load.start(running.url, requests, task.connections, patience=task.patience)
    try:
        time.sleep(task.swap_seconds)
        began = time.perf_counter_ns()
        running.swap(replace(source))
        ended = time.perf_counter_ns()
        time.sleep(task.swap_seconds)
    finally:
        seen = load.stop()
    answers = seen.due + seen.taken
    meanwhile = (seen.due < ended) & (answers > began) & seen.answered
    if meanwhile.any():
        return seen.failed, float(np.quantile(seen.taken[meanwhile] / 1e6, 0.99, method="inverted_cdf"))
    later = answers[seen.answered & (answers > began)]
    if not len(later):
        raise RuntimeError("no request was answered once the model was changed")
    return seen.failed, float(later.min() - began) / 1e6
