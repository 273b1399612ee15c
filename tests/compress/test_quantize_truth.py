"""Artefacts against what they must be: closed forms, numpy, scikit-learn, scipy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper
from scipy import stats
from widths import SIZES

from weigh import catalog
from weigh.choice import Block, Unfit
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.compress.quantize._ranges import BINS, _loss, clip_at, histograms, of_graph
from weigh.compress.quantize._toy import forward, net, random_layers
from weigh.model.rows_bench import RowsBench
from weigh.model.session import Session, load_session
from weigh.model.source import open_source

CALIBRATED = [
    "int8_static",
    "int8_static:calibration=entropy",
    "int8_static:calibration=percentile",
    "int8_per_channel",
]
INT8 = ["int8_dynamic", *CALIBRATED]


def tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def gaussian(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def test_a_session_computes_what_numpy_computes(plain: QuantizeTask, layers: list[Any]) -> None:
    x = gaussian(64, SIZES[0])
    answer = Session(plain.model, "scores", threads=1, batch=10).answer({"X": x})
    np.testing.assert_allclose(answer, forward(layers, x), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of 256 x 512 weights: 131,072 numbers, and 512 biases."""
    path = tmp_path_factory.mktemp("wide") / "wide.onnx"
    onnx.save(net(random_layers((256, 512), seed=1)), path)
    return path


@pytest.mark.parametrize("option", ["none", "float16", *INT8])
def test_a_weight_takes_as_many_bytes_as_its_type(choice: Quantize, wide: Path, tmp_path: Path, option: str) -> None:
    made = catalog.find(choice, option).convert(open_source(wide), Calibration({"X": gaussian(100, 256)}), tmp_path)  # type: ignore[attr-defined]
    each = {"none": 4, "float16": 2}.get(option, 1)
    weights = 256 * 512 * each
    biases_and_names = 512 * (4 + 9 * ("channel" in option)) + 4096
    assert weights < made.stat().st_size < weights + biases_and_names


def test_float16_rounds_to_the_nearest(convert: Callable[..., onnx.ModelProto], wide: Path) -> None:
    before, after = tensors(onnx.load(wide)), tensors(convert("float16", wide))
    assert after["weights0"].dtype == np.float16
    np.testing.assert_array_equal(after["weights0"], before["weights0"].astype(np.float16))


@pytest.mark.parametrize("option", INT8)
def test_int8_weights_lie_within_half_a_step_of_the_originals(
    convert: Callable[..., onnx.ModelProto], plain: QuantizeTask, layers: list[Any], option: str
) -> None:
    made = tensors(convert(option, plain.model, X=gaussian(100, SIZES[0])))
    for i, (weights, _) in enumerate(layers):
        quantized, scale, zero = (made[f"weights{i}_{part}"] for part in ("quantized", "scale", "zero_point"))
        assert quantized.dtype == np.int8
        assert scale.size == (weights.shape[1] if option == "int8_per_channel" else 1)
        back = (quantized.astype(np.float64) - zero.astype(np.float64)) * scale
        assert np.all(np.abs(back - weights) <= scale * 0.5001)


def test_one_scale_a_channel_keeps_small_channels(convert: Callable[..., onnx.ModelProto], tmp_path: Path) -> None:
    weights, bias = random_layers((32, 8), seed=2)[0]
    weights[:, 0] *= 1e-3
    onnx.save(net([(weights, bias)]), tmp_path / "uneven.onnx")
    x = gaussian(50, 32)

    def error(option: str) -> float:
        made = tensors(convert(option, tmp_path / "uneven.onnx", X=x))
        back = made["weights0_quantized"].astype(np.float64) * made["weights0_scale"]
        return float(np.abs(back - weights)[:, 0].max() / np.abs(weights[:, 0]).max())

    assert error("int8_static") > 0.5
    assert error("int8_per_channel") < 0.01


def input_range(model: onnx.ModelProto) -> float:
    return float(tensors(model)["X_scale"]) * 255


def test_minmax_takes_the_least_and_the_greatest(convert: Callable[..., onnx.ModelProto], plain: QuantizeTask) -> None:
    x = gaussian(400, SIZES[0])
    made = convert("int8_static:calibration=minmax", plain.model, X=x)
    assert input_range(made) == pytest.approx(x.max() - x.min(), rel=1e-5)


@pytest.mark.parametrize("share", [99.0, 99.9])
def test_percentile_clips_that_share(
    convert: Callable[..., onnx.ModelProto], plain: QuantizeTask, share: float
) -> None:
    x = gaussian(2000, SIZES[0])
    low, high = np.percentile(x, [(100 - share) / 2, (100 + share) / 2], method="inverted_cdf")
    made = convert(f"int8_static:calibration=percentile,percentile={share}", plain.model, X=x)
    bin_width = 2 * np.abs(x).max() / 2048
    assert input_range(made) == pytest.approx(high - low, abs=2 * float(bin_width))


def clipped(values: np.ndarray, levels: int = 128) -> float:
    most = np.abs(values).max()
    return clip_at(*np.histogram(values, BINS, (-most, most)), levels) / most


def test_entropy_clips_outliers_and_nothing_else() -> None:
    random = np.random.default_rng(0)
    assert clipped(random.uniform(-1, 1, 50_000)) == pytest.approx(1.0)
    assert 0.02 < clipped(np.append(random.normal(size=50_000), 100.0)) < 0.1
    assert clipped(random.normal(size=300)) == pytest.approx(1.0)


def test_entropy_reaches_the_file(convert: Callable[..., onnx.ModelProto], plain: QuantizeTask) -> None:
    x = gaussian(2000, SIZES[0])
    x[0, 0] = 80.0
    assert input_range(convert("int8_static:calibration=minmax", plain.model, X=x)) > 80
    assert 5 < input_range(convert("int8_static:calibration=entropy", plain.model, X=x)) < 20


def test_the_loss_of_clipping_is_the_divergence_that_scipy_gives() -> None:
    magnitudes = np.random.default_rng(1).integers(1, 50, size=64).astype(float)
    end, levels = 40, 8
    reference = magnitudes[:end].copy()
    reference[-1] += magnitudes[end:].sum()
    spread = np.concatenate([np.full(5, magnitudes[i : i + 5].mean()) for i in range(0, end, 5)])
    assert _loss(magnitudes, end, levels) == pytest.approx(stats.entropy(reference, spread))


@pytest.mark.parametrize("option", CALIBRATED)
def test_integer_kernels_compute_what_the_file_says(
    choice: Quantize, plain: QuantizeTask, layers: list[Any], option: str
) -> None:
    """On CPUs without VNNI, sums of two 8-bit products saturate: the same file answers otherwise than it should."""
    import onnxruntime

    bench = RowsBench(plain, seed=0)
    made, feed = bench.prepare(catalog.find(choice, option)).made.path, dict(bench.rows.feeds)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    literal = onnxruntime.InferenceSession(str(made), settings, providers=["CPUExecutionProvider"]).run(None, feed)[0]
    step = tensors(onnx.load(made))["scores_scale"]
    assert np.abs(bench.load(made).answer(feed) - literal).max() <= 2 * step


def test_accuracy_over_all_rows_is_that_of_scikit_learn(
    choice: Quantize, digits: Any, whole_race: Callable[..., dict[str, np.ndarray]]
) -> None:
    task, model, x, y = digits
    values = whole_race(task, catalog.find(choice, "none"))
    assert values["accuracy"].size == len(y)
    assert values["accuracy"].sum() == (model.predict(x) == y).sum()
    assert values["agreement"].mean() == 1.0


@pytest.mark.parametrize("option", ["float16", *INT8])
def test_every_option_serves_a_net_of_scikit_learn(
    choice: Quantize, digits: Any, whole_race: Callable[..., dict[str, np.ndarray]], option: str
) -> None:
    task, model, x, y = digits
    values = whole_race(task, catalog.find(choice, option))
    assert values["accuracy"].mean() == pytest.approx(model.score(x, y), abs=0.02)
    assert values["agreement"].mean() > 0.97
    assert values["size"][0] < 0.65 * task.model.stat().st_size / 1e6


def test_values_pair_row_by_row(
    choice: Quantize, plain: QuantizeTask, layers: list[Any], whole_race: Callable[..., dict[str, np.ndarray]]
) -> None:
    bench = RowsBench(plain, seed=4)
    inputs, truth = bench.rows.feeds["X"][bench._order], bench.truth[bench._order]
    right = forward(layers, inputs).argmax(axis=1) == truth
    np.testing.assert_array_equal(whole_race(plain, catalog.find(choice, "none"), seed=4)["accuracy"], right)


def test_runs_to_warm_up_do_not_count(plain: QuantizeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = accumulate(range(100))
    monkeypatch.setattr("weigh.model.session.time.perf_counter_ns", lambda: next(ticks) * 1_000_000)
    session = Session(plain.model, "scores", threads=1, batch=1)
    assert session.times({"X": gaussian(1, SIZES[0])}, warmup=2, runs=3) == [5, 7, 9]


def test_one_run_a_round_counts_for_the_tail(choice: Quantize, plain: QuantizeTask) -> None:
    bench = RowsBench(plain, seed=0)
    subject = bench.prepare(catalog.find(choice, "none"))
    values = bench.trial(subject, Block(index=0, seed=0))
    assert values["p95"] == subject.times[0][-1:]


def test_a_session_on_another_device_is_refused(plain: QuantizeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    class Elsewhere(onnxruntime.InferenceSession):
        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Elsewhere)
    with pytest.raises(RuntimeError, match="CUDAExecutionProvider"):
        load_session(plain.model, threads=1)


def test_calibration_comes_in_small_equal_batches() -> None:
    for rows, size in ((200, 25), (100, 25), (32, 32), (37, 1), (5, 5)):
        x = gaussian(rows, 3)
        batches = [feed["X"] for feed in Calibration({"X": x}).batches()]
        assert {len(batch) for batch in batches} == {size}
        np.testing.assert_array_equal(np.concatenate(batches), x)


def test_histograms_are_those_of_all_rows_at_once(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    x = gaussian(200, SIZES[0])
    x[3] *= 1000
    found = histograms(of_graph(plain.model, Calibration({"X": x}), tmp_path))
    for name, values in {"X": x, "hidden0": forward_to(layers, x, 1), "scores": forward(layers, x)}.items():
        one, most = found[name], np.abs(values).max()
        assert (one.least, one.greatest) == pytest.approx((values.min(), values.max()), rel=1e-5)
        assert one.counts.sum() == values.size
        whole = np.histogram(values, BINS, (-most, most))[0]
        assert np.abs(np.cumsum(one.counts) - np.cumsum(whole)).max() <= 0.002 * values.size


def forward_to(layers: list[Any], x: np.ndarray, count: int) -> np.ndarray:
    for weights, bias in layers[:count]:
        x = np.maximum(x @ weights + bias, 0)
    return x


def test_a_row_is_answered_in_the_company_in_which_it_is_served(choice: Quantize, plain: QuantizeTask) -> None:
    """int8_dynamic takes its ranges from the batch: one wild row coarsens the answers of those beside it."""
    alone, together = (RowsBench(plain.model_copy(update={"batch": batch}), seed=0) for batch in (1, 100))
    path = alone.prepare(catalog.find(choice, "int8_dynamic")).made.path
    x = gaussian(100, SIZES[0])
    wild = np.concatenate([x[:99], 1000 * x[99:]])
    calm, beside = (alone.load(path).answer({"X": rows})[:99] for rows in (x, wild))
    np.testing.assert_array_equal(calm, beside)
    assert np.abs(together.load(path).answer({"X": wild})[:99] - calm).max() > 0.1


def test_a_weight_beyond_float16_is_refused(
    convert: Callable[..., onnx.ModelProto], layers: list[Any], tmp_path: Path
) -> None:
    (weights, bias), *others = layers
    weights = weights.copy()
    weights[3, 4] = 1e5
    onnx.save(net([(weights, bias), *others]), tmp_path / "large.onnx")
    with pytest.raises(Unfit, match="'weights0' holds a weight of 100,000, and float16 ends at 65,504"):
        convert("float16", tmp_path / "large.onnx")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuantizeTask, float]:
    """A scikit-learn pipeline of numbers and texts, as skl2onnx exports it, and its accuracy."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    folder, random = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    table = pl.DataFrame({"a": random.normal(size=600), "b": random.normal(size=600)}).cast(pl.Float32)
    table = table.with_columns(c=pl.Series(random.choice(["x", "y", "z"], 600)))
    late = table["a"].to_numpy() + (table["c"] == "x").to_numpy() > 0.3
    columns = ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("t", OneHotEncoder(), ["c"])])
    columns.set_output(transform="default")
    model = make_pipeline(columns, MLPClassifier((16,), solver="lbfgs", max_iter=30, random_state=0))
    model.fit(table, late.astype(int))
    kinds = [(name, (StringTensorType if name == "c" else FloatTensorType)([None, 1])) for name in table.columns]
    exported = to_onnx(model, initial_types=kinds, options={"zipmap": False})
    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    table.with_columns(y=late.astype(int)).write_parquet(folder / "rows.parquet")
    task = QuantizeTask(
        model=folder / "model.onnx", data=folder / "rows.parquet", calibration_rows=100, rounds=5, runs=2, warmup=0
    )
    return task, float(model.score(table, late.astype(int)))


@pytest.mark.parametrize("option", ["none", "float16", *INT8])
def test_every_option_serves_a_pipeline_with_texts(
    choice: Quantize, texts: Any, whole_race: Callable[..., dict[str, np.ndarray]], option: str
) -> None:
    task, score = texts
    values = whole_race(task, catalog.find(choice, option))
    assert values["accuracy"].mean() == pytest.approx(score, abs=0.03)
    assert values["agreement"].mean() > 0.95
