"""Artefacts of tests lie in a folder of their own; nets and rows whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from widths import SIZES

from weigh import catalog
from weigh.choice import Block
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.compress.quantize._toy import forward, net, random_layers
from weigh.data.cache import cache_folder
from weigh.model.rows_bench import RowsBench
from weigh.model.source import open_source


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of these tests' own, but for the models of packages, whose conversion costs too much to be done again."""
    own, models = tmp_path_factory.mktemp("cache"), cache_folder() / "models"
    models.mkdir(parents=True, exist_ok=True)
    (own / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(own))
        yield


@pytest.fixture
def quick_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products that are slow on processors without instructions for them, as float32 or float64 gives them.

    Whole numbers come out exactly, and bfloat16 is rounded once, as by torch's own kernels: a model loses the same.
    """
    linear = torch.nn.functional.linear

    def of_whole(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        exact = torch.float32 if left.shape[1] * 2**14 <= 2**24 else torch.float64
        return (left.to(exact) @ right.to(exact)).to(torch.int32)

    def of_floats(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if x.dtype != torch.bfloat16:
            return linear(x, weight, bias)
        return linear(x.float(), weight.float(), None if bias is None else bias.float()).to(x.dtype)

    monkeypatch.setattr(torch, "_int_mm", of_whole)
    monkeypatch.setattr(torch.nn.functional, "linear", of_floats)


@pytest.fixture
def choice() -> Quantize:
    made = catalog.choice("compress/quantize")
    assert isinstance(made, Quantize)
    return made


@pytest.fixture(scope="session")
def layers() -> list[Any]:
    return random_layers(SIZES, seed=5)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, layers: list[Any]) -> QuantizeTask:
    """A net and 700 rows, of which it answers all but those marked wrong rightly."""
    folder = tmp_path_factory.mktemp("plain")
    random = np.random.default_rng(3)
    x = random.normal(size=(700, SIZES[0])).astype(np.float32)
    y = forward(layers, x).argmax(axis=1)
    y[::10] = (y[::10] + 1) % SIZES[-1]
    onnx.save(net(layers), folder / "net.onnx")
    np.savez(folder / "rows.npz", X=x, y=y)
    return QuantizeTask(
        model=folder / "net.onnx", data=folder / "rows.npz", calibration_rows=200, rounds=10, runs=2, warmup=0
    )


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuantizeTask, Any, np.ndarray, np.ndarray]:
    """A scikit-learn net for digits as skl2onnx exports it, with rows that it has not seen."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    folder = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    model = MLPClassifier((64,), solver="lbfgs", max_iter=60, tol=1e-2, random_state=0).fit(x[:500], y[:500])
    exported = to_onnx(model, x[:1], options={"zipmap": False})
    (folder / "digits.onnx").write_bytes(exported.SerializeToString())
    np.savez(folder / "seen.npz", X=x[:500])
    np.savez(folder / "rows.npz", X=x[500:], y=y[500:])
    task = QuantizeTask(
        model=folder / "digits.onnx", data=folder / "rows.npz", calibration=folder / "seen.npz",
        rounds=20, runs=2, warmup=0,
    )  # fmt: skip
    return task, model, x[500:], y[500:]


@pytest.fixture
def convert(choice: Quantize, tmp_path: Path) -> Callable[..., onnx.ModelProto]:
    """The graph that an option makes of a model."""

    def made(option: str, model: Path, **feeds: np.ndarray) -> onnx.ModelProto:
        path = catalog.find(choice, option).convert(open_source(model), Calibration(feeds), tmp_path)  # type: ignore[attr-defined]
        return onnx.load(path)

    return made


@pytest.fixture
def whole_race() -> Callable[..., dict[str, np.ndarray]]:
    """All values of one option over every block of a task, by measure."""

    def measured(task: QuantizeTask, option: Any, seed: int = 0) -> dict[str, np.ndarray]:
        bench = RowsBench(task, seed)
        subject = bench.prepare(option)
        count = bench.blocks.race + bench.blocks.fresh
        trials = [bench.trial(subject, Block(index=i, seed=i)) for i in range(count)]
        return {name: np.concatenate([np.atleast_1d(trial[name]) for trial in trials]) for name in trials[0]}

    return measured
