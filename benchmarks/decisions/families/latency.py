"""Times of nets of many widths, in rounds that time all of them: the machine's noise as it is, none simulated."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks._load import loaded
from benchmarks.decisions.families import _sources
from benchmarks.decisions.families._limits import Limits, each
from benchmarks.decisions.families._nets import Layer, Matrix, Net, scores, trained
from benchmarks.decisions.family import Family
from weigh.scale.gauge import Gauge, Limit

Times = NDArray[np.float64]

_WIDTHS = (256, 192, 160, 128, 96, 80, 64, 48, 32, 24, 16)
_IN_RUNTIME = (256, 128, 64, 32)
_WARM_UP, _BLOCKS = 50, 100
_ATTEMPTS, _EVEN = 4, 1.3


class Option(NamedTuple):
    """What answers a batch, and the share of test rows that it gets wrong, in per cent."""

    answer: Callable[[Matrix], Any]
    lost: float


class Run(NamedTuple):
    """What is timed how.

    Attributes:
        load: kinds of other work beside it, of `benchmarks._load`.
        batch, rounds: rows of an answer; how often every option is timed.
        ask: from the options' ratios to the widest net and their 95th percentiles, the settings.
    """

    load: Sequence[str]
    batch: int
    rounds: int
    ask: Callable[[Times, Times], list[Limits]]


def made(name: str, run: Run) -> Family:
    """Time every option once a round, in an order of the round's own, while the load is at work."""
    load, batch, rounds = run.load, run.batch, run.rounds
    options = _options(batch)
    with loaded(load):
        times = _evenly([option.answer for option in options.values()], _sources.fashion().x[:batch], rounds)
    lost = np.array([option.lost for option in options.values()])
    settings = run.ask(np.median(times / times[:, :1], axis=0), np.quantile(times, 0.95, axis=0))
    busy = f"with other work beside it ({', '.join(load)})" if load else "with nothing started beside it"
    return Family(
        name=name, kind="latency", source=f"nets on Fashion-MNIST, batches of {batch}, {busy}; milliseconds",
        options=tuple(options), baseline=next(iter(options)),
        gauges=(
            Gauge("lost", "exact", "lower"), Gauge("latency", "time", "lower"),
            Gauge("p95", "quantile", "lower", q=0.95),
        ),
        exact={"lost": lost}, values={"latency": times, "p95": times}, objective="lost",
        settings=tuple(settings), serial=True, block=rounds // _BLOCKS,
    )  # fmt: skip


def _evenly(answers: Sequence[Callable[[Matrix], Any]], x: Matrix, rounds: int) -> Times:
    """Times, again where other work came or went meanwhile: its half would say nothing of the whole."""
    for _ in range(_ATTEMPTS - 1):
        times = timed(answers, x, rounds)
        if uneven(times) <= _EVEN:
            return times
        print(f"(95th percentiles of its quarters differ by {uneven(times):.2f} x: timed again)", end=" ", flush=True)
    return timed(answers, x, rounds)


def uneven(times: Times) -> float:
    """The 95th percentile of the slowest quarter of the rounds against the quickest's, the median over options."""
    tails = np.stack([np.quantile(quarter, 0.95, axis=0) for quarter in np.array_split(times, 4)])
    return float(np.median(tails.max(axis=0) / tails.min(axis=0)))


def timed(answers: Sequence[Callable[[Matrix], Any]], x: Matrix, rounds: int) -> Times:
    """Milliseconds, shape (rounds, options); the first rounds warm up and are not kept."""
    random = np.random.default_rng(0)
    times = np.empty((rounds, len(answers)), dtype=np.float32)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for row in range(-_WARM_UP, rounds):
            for place in random.permutation(len(answers)):
                start = time.perf_counter()
                answers[place](x)
                times[max(row, 0), place] = (time.perf_counter() - start) * 1000
    finally:
        if collecting:
            gc.enable()
    return times.astype(np.float64)


def _options(batch: int) -> dict[str, Option]:
    """Nets of many widths by numpy; some of them by ONNX Runtime, in float32 and in int8."""
    learn, test = _sources.fashion().split(20_000, 10_000, seed=2)
    found: dict[str, Option] = {}
    for width in _WIDTHS:
        layers = trained(learn, (width,), seed=width, epochs=8)
        found[f"numpy-{width}"] = _option(partial(scores, layers), test, batch)
        if width in _IN_RUNTIME:
            for kind in ("float32", "int8"):
                found[f"onnx-{width}-{kind}"] = _option(_session(layers, kind == "int8"), test, batch)
    return found


def _option(answer: Callable[[Matrix], Any], test: _sources.Rows, batch: int) -> Option:
    said = [answer(test.x[start : start + batch]).argmax(axis=1) for start in range(0, len(test.y), batch)]
    return Option(answer, 100 * float((np.concatenate(said) != test.y).mean()))


def _session(layers: Net, int8: bool) -> Callable[[Matrix], Any]:
    """The net in ONNX Runtime, on one thread; in int8 its weights are rounded, and its activations as they come."""
    import tempfile
    from pathlib import Path

    import onnxruntime as ort
    from onnxruntime.quantization import quantize_dynamic

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "net.onnx", Path(folder) / "int8.onnx"
        path.write_bytes(_graph(layers))
        if int8:
            before = logging.root.manager.disable
            logging.disable(logging.WARNING)  # that a graph could be prepared first
            try:
                quantize_dynamic(path, small)
            finally:
                logging.disable(before)
        content = (small if int8 else path).read_bytes()
    session = ort.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _graph(layers: Sequence[Layer]) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, weights, last = [], [], "x"
    for place, layer in enumerate(layers):
        weights += [numpy_helper.from_array(layer.first, f"w{place}"), numpy_helper.from_array(layer.bias, f"b{place}")]
        nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"m{place}"]))
        nodes.append(helper.make_node("Add", [f"m{place}", f"b{place}"], [f"a{place}"]))
        last = f"a{place}"
        if place < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [last], [f"r{place}"]))
            last = f"r{place}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(layers[0].first)])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None, None])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _places(levels: Times, count: int) -> Iterator[float]:
    """Bounds spread over the levels of the options, in three digits, between some and at some of them."""
    for level in np.quantile(levels, np.linspace(0.1, 0.9, count)):
        yield float(f"{level:.3g}")


def ratios(ratio: Times, tail: Times) -> list[Limits]:
    """So much of the widest net's time."""
    return list(each(Limit("latency", "<=", bound, "ratio") for bound in _places(ratio, 9)))


def tails(ratio: Times, tail: Times) -> list[Limits]:
    """So many milliseconds in 95 of 100 rounds."""
    return list(each(Limit("p95", "<=", bound) for bound in _places(tail, 10)))


def both(ratio: Times, tail: Times) -> list[Limits]:
    """A share of the widest net's time; alone, and with a tail in milliseconds or against the widest net's."""
    quick = [Limit("latency", "<=", bound, "ratio") for bound in _places(ratio, 5)]
    slow = [Limit("p95", "<=", bound) for bound in _places(tail, 5)]
    against = [Limit("p95", "<=", bound, "ratio") for bound in _places(tail / tail[0], 4)]
    return [*each(quick), *zip(quick[1:], slow[1:]), *each(against[2:])]


FAMILIES = {
    "latency-quiet": partial(made, "latency-quiet", Run((), 16, 6_000, ratios)),
    "latency-loaded": partial(made, "latency-loaded", Run(("matmul", "bursts"), 16, 6_000, both)),
    "latency-slo": partial(made, "latency-slo", Run(("memory",), 64, 6_000, tails)),
}
