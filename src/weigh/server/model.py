"""A model as a server runs it: tensors in, tensors out."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import UsageError
from weigh.server.tensors import ONNX, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.source import Port, Source
    from weigh.server.tensors import Arrays


QUICK = 0.0005
"""Seconds of a run up to which it is quick."""


class Model(ABC):
    """A loaded model.

    Attributes:
        inputs, outputs: what goes in and comes out, as the protocol names it.
        version: the start of the digest of its content.
        platform: what runs it, as the protocol names platforms.
        quick: a run is so short that handing it to a thread would cost more; `warm` finds out.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    version: str
    platform: str
    quick: bool = False

    @abstractmethod
    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        """All outputs by name.

        Args:
            feed: all inputs by name, in their types and shapes.
        """

    def warm(self, runs: int = 20) -> float:
        """The fastest of some runs of a row of ones, in seconds; infinite where it does not take one."""
        feed, clock, best = example(self), time.perf_counter, float("inf")
        for _ in range(runs):
            start = clock()
            try:
                self.run(feed)
            except Exception:  # whatever a model raises for values that nobody meant for it
                return float("inf")
            best = min(best, clock() - start)
        self.quick = best < QUICK
        return best


def open_model(path: Path | str, architecture: str = "", threads: int = 1) -> Model:
    """Check a model and load it.

    Args:
        path: an .onnx, .pt2 or .safetensors file, a Hugging Face folder of an encoder, or an MLflow URI.
        architecture: ``net.py:build``, for weights alone.
        threads: of one run.

    Raises:
        UsageError: there is none, it is damaged, or it is a language model, which answers another protocol.
    """
    from weigh.model.source import open_source

    try:
        source = open_source(Path(path), architecture)
    except UsageError as error:
        if "--trust" not in str(error):
            raise
        raise UsageError(f"{path} is a pickle, which can run any code when opened: convert it to ONNX first") from None
    if source.kind == "language":
        raise UsageError(f"{path} is a language model: it speaks OpenAI's API, not the Open Inference Protocol")
    return OnnxModel(source, threads) if source.format == "onnx" else TorchModel(source, threads)


@final
class OnnxModel(Model):
    """An ONNX file in ONNX Runtime on the CPU."""

    platform = "onnxruntime_onnx"

    def __init__(self, source: Source, threads: int) -> None:
        from weigh.model.session import load_session

        self.version = source.digest[:12]
        self.inputs = tuple(_tensor(port) for port in source.inputs)
        self.outputs = tuple(_tensor(port) for port in source.outputs)
        self._names = [one.name for one in self.outputs]
        self._run = load_session(source.path, threads).run

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(self._names, self._run(self._names, feed)))


@final
class TorchModel(Model):
    """A torch module: an exported archive, weights with the code that builds their net, an encoder's folder."""

    platform = "pytorch_torch"

    def __init__(self, source: Source, threads: int) -> None:
        from weigh.model.runner import open_runner

        self.version = source.digest[:12]
        self.inputs = tuple(_tensor(port) for port in source.inputs)
        name = source.outputs[0].name if source.outputs else "answer"
        self._runner = open_runner(source.path, source, threads, batch=1 << 30)
        width = self.run_raw(example(self)).shape[1:]
        self.outputs = (Tensor(name, "FP32", (-1, *width)),)

    def run_raw(self, feed: Arrays) -> NDArray[Any]:
        """The one output."""
        return self._runner.answer(feed)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        return {self.outputs[0].name: self.run_raw(feed)}


def example(model: Model, rows: int = 1) -> dict[str, NDArray[Any]]:
    """Inputs of ones (texts: "a") that a model takes; every free dimension but the first is 1."""
    import numpy as np

    from weigh.server.tensors import NUMPY

    feed = {}
    for one in model.inputs:
        shape = [rows if place == 0 and size == -1 else max(size, 1) for place, size in enumerate(one.shape)]
        feed[one.name] = (
            np.full(shape, "a", dtype=object) if one.datatype == "BYTES" else np.ones(shape, NUMPY[one.datatype])
        )
    return feed


def _tensor(port: Port) -> Tensor:
    """As the protocol names it.

    Raises:
        UsageError: it is of a type that the protocol does not have.
    """
    if port.type not in ONNX:
        raise UsageError(
            f"'{port.name}' is a {port.type}, which the Open Inference Protocol does not have; export the model with "
            "tensors of numbers or texts (a scikit-learn classifier with zipmap=False)"
        )
    return Tensor(port.name, ONNX[port.type], tuple(-1 if size is None else size for size in port.shape))
