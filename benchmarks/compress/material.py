"""Models and rows that are compressed: trained here on real data, exported to ONNX, kept in the cache."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._nets import trained
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.families.latency import _graph as dense_graph
from weigh.data.cache import cache_folder, replacing

if TYPE_CHECKING:
    import onnx

POOL = 2_000
"""Rows of a material that calibrate and never judge."""


@dataclass(frozen=True, slots=True)
class Material:
    """A model, nets with fewer units that were trained alike, and rows that neither was trained on.

    Attributes:
        name: as in ``flights``.
        source: the data and the model, in a sentence.
        models: the model first, then the narrower ones, by name: .onnx files, each for any number of rows.
        x, y: rows to judge on, shape (n, ...), and their right answers.
        pool: rows to calibrate on, shape (POOL, ...).
        answer: how answers are read, as the task of compress/quantize says.
    """

    name: str
    source: str
    models: dict[str, Path]
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    pool: NDArray[np.float32]
    answer: dict[str, Any]


def load(name: str) -> Material:
    """A material from the cache; made where it is not there."""
    folder = cache_folder() / "compress" / f"{name}-{_code()[:12]}"
    if not folder.exists():
        print(f"making {name} ...", flush=True)
        with replacing(folder) as temporary:
            temporary.mkdir(parents=True)
            MATERIALS[name](temporary)
    with np.load(folder / "rows.npz") as rows:
        x, y, pool = rows["x"], rows["y"], rows["pool"]
    models = {path.stem.split("-", 1)[1]: path for path in sorted(folder.glob("*.onnx"))}
    answer = {"answer": "threshold", "threshold": 0.0} if name == "flights" else {"answer": "scores"}
    return Material(name, SOURCES[name], models, x, y, pool, answer)


def _code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _save(folder: Path, models: dict[str, bytes], judged: Rows, pool: NDArray[np.float32]) -> None:
    for place, (name, content) in enumerate(models.items()):
        (folder / f"{place}-{name}.onnx").write_bytes(bare(content))
    np.savez(folder / "rows.npz", x=judged.x, y=judged.y, pool=pool)


def _flights(folder: Path) -> None:
    """A perceptron of the journey's widths, and narrower ones."""
    learn, rest = _sources.flights()[0].split(60_000, 42_000)
    models = {}
    for name, hidden in (("float32", (128, 64)), ("half", (64, 32)), ("quarter", (32, 16)), ("eighth", (16, 8))):
        models[name] = dense_graph(trained(learn, hidden, seed=0, epochs=8))
    _save(folder, models, Rows(rest.x[POOL:], rest.y[POOL:]), rest.x[:POOL])


def _fashion(folder: Path) -> None:
    """A convolutional net on Fashion-MNIST, and narrower ones."""
    learn, rest = _sources.fashion().split(20_000, 42_000)
    learn, rest = (Rows(part.x.reshape(-1, 1, 28, 28), part.y) for part in (learn, rest))
    models = {name: conv_graph(learn, width) for name, width in (("float32", 24), ("half", 12), ("quarter", 6))}
    _save(folder, models, Rows(rest.x[POOL:], rest.y[POOL:]), rest.x[:POOL])


def conv_graph(rows: Rows, width: int, epochs: int = 4) -> bytes:
    """A net of three convolutions, trained on pictures (n, 1, 28, 28), as ONNX for any number of rows."""
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = _conv(width)
        optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
        steps = epochs * -(-len(rows.y) // 100)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for places in _batches(len(rows.y), epochs):
            loss = torch.nn.functional.cross_entropy(
                net(torch.from_numpy(rows.x[places])), torch.from_numpy(rows.y[places])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _exported(net.eval())


def _conv(width: int) -> Any:
    from torch import nn

    def block(taken: int, given: int) -> nn.Module:
        convolution = nn.Conv2d(taken, given, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(given), nn.ReLU(), nn.MaxPool2d(2))

    blocks = block(1, width), block(width, 2 * width), block(2 * width, 4 * width)
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * width * 9, 10))


def _batches(rows: int, epochs: int) -> Iterator[NDArray[np.intp]]:
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(rows)
        yield from (order[start : start + 100] for start in range(0, rows, 100))


def _exported(net: Any) -> bytes:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that packages which nobody uses are not there
    buffer = io.BytesIO()
    torch.onnx.export(
        net, (torch.zeros(2, 1, 28, 28),), buffer, input_names=["x"], output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("rows")},), dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    return buffer.getvalue()


def _digits(folder: Path) -> None:
    """The net of handwritten digits that weigh brings; its 2,000 test rows judge."""
    from weigh.data import digits

    test, learn = digits.load("test"), digits.load("train")
    _save(folder, {"float32": digits.onnx().read_bytes()}, Rows(*test), learn[0][:POOL])


def bare(content: bytes) -> bytes:
    """A model without what its exporter noted of each node for debugging, which would count as its size."""
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    del graph.value_info[:]
    return model.SerializeToString()


def pruned(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The smallest weights of each matrix and kernel are set to zero; the file is as large as before."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim >= 2 and weights.dtype == np.float32:
            level = np.quantile(np.abs(weights), share)
            tensor.CopyFrom(numpy_helper.from_array(np.where(np.abs(weights) > level, weights, 0), tensor.name))
    return model


MATERIALS: dict[str, Callable[[Path], None]] = {"flights": _flights, "fashion": _fashion, "digits": _digits}
SOURCES = {
    "flights": "a year of flights; a perceptron with 128 x 64 hidden units",
    "fashion": "Fashion-MNIST; a net of three convolutions with 24, 48 and 96 channels",
    "digits": "MNIST, 5,000 pictures; a net of three convolutions with 24, 48 and 96 channels",
}
