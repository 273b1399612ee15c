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
    meanwhile = (seen.due < ended) & (seen.due + seen.taken > began) & seen.answered
    times = seen.taken[meanwhile] / 1e6
    if not len(times):
        raise RuntimeError("no request was answered while the model was changed")
    return seen.failed, float(np.quantile(times, 0.99, method="inverted_cdf"))
