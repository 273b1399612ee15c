"""Times of compressed nets, in rounds that time all of them, on the machine at hand: real noise, not simulated."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._nets import Layer, _factored, scores, trained
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

_LOAD = "import numpy as np\na = np.random.rand(300, 300)\nwhile True:\n    a = a @ a % 1.0"


@contextlib.contextmanager
def _busy(processes: int) -> Iterator[None]:
    """So many other processes at work, which end with this one."""
    running = [subprocess.Popen([sys.executable, "-c", _LOAD]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _options(rows: int) -> dict[str, tuple[list[Layer], float]]:
    """Name -> layers and the accuracy that they reach; widths and ranks from slow to quick."""
    learn, test = _sources.fashion().split(8_000, 10_000, seed=2)
    found: dict[str, tuple[list[Layer], float]] = {}
    for width in (256, 192, 128, 96, 64, 32, 16):
        layers = trained(learn, (width,), seed=width, epochs=5)
        found[f"net-{width}"] = layers, _accuracy(layers, test)
        if width >= 96:
            for part in (0.5, 0.25, 0.1):
                low = _factored(layers, part)
                found[f"net-{width}-rank-{part:g}"] = low, _accuracy(low, test)
    return found


def _accuracy(layers: list[Layer], test: _sources.Rows) -> float:
    return float((scores(layers, test.x).argmax(axis=1) == test.y).mean())


def _made(name: str, what: str, batch: int, rounds: int, load: int, slo: bool) -> Family:
    made = _options(batch)
    names, x = list(made), _sources.fashion().x[:batch]
    times = np.empty((rounds, len(names)))
    random = np.random.default_rng(0)
    with _busy(load):
        time.sleep(1.0 if load else 0.0)
        gc.disable()
        for row in range(-20, rounds):
            for place in random.permutation(len(names)):
                start = time.perf_counter()
                scores(made[names[place]][0], x)
                times[max(row, 0), place] = (time.perf_counter() - start) * 1000
        gc.enable()
    lost = np.array([100 * (1 - made[one][1]) for one in names])
    gauges = (
        Gauge("lost", "exact", "lower"),
        Gauge("latency", "time", "lower"),
        Gauge("p95", "quantile", "lower", q=0.95),
    )
    ratio = np.median(times / times[:, [0]], axis=0)
    tail = np.quantile(times, 0.95, axis=0)
    share = np.linspace(0.15, 0.85, 9)
    settings = [(Limit("latency", "<=", round(float(np.quantile(ratio, at)), 3), "ratio"),) for at in share]
    if slo:
        settings = [(Limit("p95", "<=", float(f"{np.quantile(tail, at):.3g}")),) for at in share]
        settings += [(Limit("latency", "<=", 0.9, "ratio"), Limit("p95", "<=", float(f"{np.quantile(tail, 0.6):.3g}")))]
    settings = [s for s in settings if _possible(s, ratio, tail)]
    return Family(
        name=name, kind="latency", source=f"{what}; {len(names)} nets on Fashion-MNIST in batches of {batch}",
        options=tuple(names), baseline=names[0], gauges=gauges, exact={"lost": lost},
        values={"latency": times, "p95": times}, objective="lost", settings=tuple(settings), serial=True, block=50,
    )  # fmt: skip


def _possible(limits: tuple[Limit, ...], ratio: np.ndarray, tail: np.ndarray) -> bool:
    met = [(ratio if limit.relative else tail) <= limit.bound for limit in limits]
    return bool(np.logical_and.reduce(met).any())


FAMILIES = {
    "latency-quiet": partial(_made, "latency-quiet", "nothing else at work", 4, 5_000, 0, False),
    "latency-loaded": partial(_made, "latency-loaded", "two other processes at work", 4, 5_000, 2, False),
    "latency-slo": partial(_made, "latency-slo", "one other process at work", 8, 5_000, 1, True),
}
