"""Truth: every candidate judged on every row and timed in every round, so that fronts are known."""

from __future__ import annotations

import hashlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import material
from benchmarks.compress.material import Material
from benchmarks.decisions import store
from weigh.choice import Unfit
from weigh.data.cache import cache_folder, replacing
from weigh.model.session import no_collection

Array = NDArray[np.float64]

WHOLE = (
    "none", "float16", "int8_dynamic", "int8_per_channel", "int8_per_channel:activations=int8", "int8_static",
    "int8_static:calibration=entropy", "int8_static:calibration=percentile",
    "int8_static:calibration=percentile,percentile=99",
)  # fmt: skip
"""What the model itself is turned into."""
NARROW = ("none", "int8_dynamic", "int8_static")
"""What narrower and pruned nets are turned into."""
SHARES = (0.5, 0.8)
"""Shares of the weights that are pruned."""
ROUNDS, RUNS, FRESH = 3_000, 3, 30
"""Timing rounds; runs of a turn, of which the median counts; rounds after which every session is loaded anew."""


@dataclass(frozen=True)
class Truth:
    """A fully evaluated table.

    Attributes:
        name: as in ``flights``.
        source: the data, the model and what was done to it.
        options: candidates, the baseline first.
        size: kilobytes of each, shape (options,).
        right: whether each row was answered rightly, shape (rows, options).
        times: milliseconds in each round, shape (rounds, options); empty where they were not timed.
    """

    name: str
    source: str
    options: tuple[str, ...]
    size: Array
    right: Array
    times: Array

    @cached_property
    def accuracy(self) -> Array:
        """Of each candidate."""
        return np.asarray(self.right.mean(axis=0))

    @cached_property
    def ratios(self) -> Array:
        """Median of the paired ratios of times, row against column, shape (options, options)."""
        count = len(self.options)
        made = np.ones((count, count))
        for i in range(count):
            ratio = self.times / self.times[:, [i]]
            made[:, i] = np.quantile(ratio, 0.5, axis=0, method="inverted_cdf")
        return made


def load(name: str) -> Truth:
    """A table by name: measured here, or of a family of bench-decisions (`family:NAME`); kept in the cache."""
    if name.startswith("family:"):
        return _of_family(name.removeprefix("family:"))
    path = cache_folder() / "compress" / f"{name}-{_code(name)[:12]}.npz"
    if not path.exists():
        print(f"measuring {name} ...", flush=True)
        _save(measured(name), path)
    return _read(path)


def _of_family(name: str) -> Truth:
    family = store.load(name)
    first = family.options.index(family.baseline)
    assert first == 0
    return Truth(
        f"family:{name}",
        family.source,
        family.options,
        family.exact["size"],
        family.values["accuracy"],
        np.empty((0, 0)),
    )


def _code(name: str) -> str:
    data = hashlib.sha256(Path(__file__).read_bytes())
    data.update(Path(material.__file__).read_bytes())
    return data.hexdigest()


def _save(truth: Truth, path: Path) -> None:
    buffer = io.BytesIO()
    about = json.dumps([truth.name, truth.source, truth.options])
    np.savez_compressed(
        buffer, about=np.array(about), size=truth.size, right=truth.right.astype(np.uint8),
        times=truth.times.astype(np.float32),
    )  # fmt: skip
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _read(path: Path) -> Truth:
    with np.load(path, allow_pickle=False) as arrays:
        name, source, options = json.loads(str(arrays["about"]))
        size, right, times = (arrays[part].astype(np.float64) for part in ("size", "right", "times"))
    return Truth(name, source, tuple(options), size, right, times)


def measured(name: str) -> Truth:
    """Make every candidate of a material, judge it on every row, and time all of them in rounds."""
    from benchmarks.compress.runs import Net

    subject = material.load(name)
    with tempfile.TemporaryDirectory() as folder:
        files = dict(candidates(subject, Path(folder)))
        right = [Net(path, subject).right(subject.x, subject.y) for path in files.values()]
        times = timed([partial(Net, path, subject) for path in files.values()], subject.x)
        size = np.array([path.stat().st_size / 1000 for path in files.values()])
    return Truth(name, subject.source, tuple(files), size, np.stack(right, axis=1).astype(np.float64), times)


def candidates(subject: Material, folder: Path) -> Iterator[tuple[str, Path]]:
    """By name the file of each: options of compress/quantize on the model, on narrower nets and on pruned ones."""
    sources = {name: (path, WHOLE if name == "float32" else NARROW) for name, path in subject.models.items()}
    for share in SHARES:
        sources[f"pruned-{share:g}"] = (_pruned(subject.models["float32"], share, folder), NARROW)
    for name, (path, specs) in sources.items():
        for spec in specs:
            made = folder / f"{name}-{spec.replace(':', '-')}.onnx"
            try:
                converted(subject, path, spec, subject.pool[:200], made)
            except Unfit as why:
                print(f"{name}, {spec}: {why}", flush=True)
                continue
            yield f"{name}, {spec}", made


def _pruned(path: Path, share: float, folder: Path) -> Path:
    import onnx

    made = folder / f"pruned-{share:g}.onnx"
    onnx.save(material.pruned(onnx.load(path), share), made)
    return made


def converted(subject: Material, model: Path, spec: str, calibration: NDArray[np.float32], to: Path) -> Path:
    """The file that an option of compress/quantize makes of a model, calibrated on these rows."""
    from weigh import catalog
    from weigh.compress.quantize import QuantizeTask
    from weigh.model.write import convert

    rows = to.with_suffix(".npz")
    np.savez(rows, X=subject.x[:500], y=subject.y[:500])
    given = to.with_suffix(".calibration.npz")
    np.savez(given, X=calibration)
    task = QuantizeTask(model=model, data=rows, calibration=given, calibration_rows=len(calibration), **subject.answer)
    return convert(task, catalog.find(catalog.choice("compress/quantize"), spec), to)


def timed(loads: Sequence[Callable[[], Any]], x: NDArray[np.float32]) -> Array:
    """Milliseconds of one row, all candidates in each round in an order of its own, shape (rounds, candidates)."""
    random = np.random.default_rng(0)
    times = np.empty((ROUNDS, len(loads)), dtype=np.float32)
    nets: list[Any] = []
    with no_collection():
        for place in range(ROUNDS):
            if place % FRESH == 0:
                nets = [load() for load in loads]
            row = x[random.integers(len(x))][None]
            for option in random.permutation(len(loads)):
                times[place, option] = _turn(nets[option], row)
    return times.astype(np.float64)


def _turn(net: Any, row: NDArray[np.float32]) -> float:
    net.run(row)
    passes = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        net.run(row)
        passes.append(time.perf_counter_ns() - start)
    return statistics.median(passes) / 1e6
