"""What users bring: what is understood, and what is refused in words that say what to type."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from widths import SIZES

from weigh.choice import UsageError
from weigh.compress.quantize import QuantizeTask
from weigh.compress.quantize._planted import Jitter
from weigh.compress.quantize._toy import forward, net
from weigh.model.rows_bench import RowsBench

WIDTH, CLASSES = SIZES[0], SIZES[-1]


def changed(task: QuantizeTask, **fields: Any) -> QuantizeTask:
    return QuantizeTask.model_validate({**task.model_dump(), **fields})


def accuracy(task: QuantizeTask) -> float:
    """Of the original, over all blocks."""
    from weigh.choice import Block
    from weigh.compress.quantize.none import Unchanged

    bench = RowsBench(task, seed=0)
    subject = bench.prepare(Unchanged())
    count = bench.blocks.race + bench.blocks.fresh
    trials = [bench.trial(subject, Block(index=i, seed=i)) for i in range(count)]
    return float(np.concatenate([trial["accuracy"] for trial in trials]).mean())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, plain: QuantizeTask) -> pl.DataFrame:
    rows = np.load(plain.data)
    return pl.DataFrame(rows["X"], schema=[f"f{i}" for i in range(WIDTH)]).with_columns(answer=pl.Series(rows["y"]))


def test_a_table_gives_what_arrays_give(plain: QuantizeTask, table: pl.DataFrame, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "rows.parquet")
    task = changed(plain, data=tmp_path / "rows.parquet", label="answer")
    np.testing.assert_array_equal(RowsBench(task, 0).rows.feeds["X"], RowsBench(plain, 0).rows.feeds["X"])
    assert accuracy(task) == accuracy(plain)


def test_columns_are_taken_in_the_order_that_is_typed(plain: QuantizeTask, table: pl.DataFrame, tmp_path: Path) -> None:
    mixed = table.select(*reversed(table.columns)).with_columns(other=pl.lit("text"))
    mixed.write_parquet(tmp_path / "rows.parquet")
    inputs = [f"f{i}" for i in range(WIDTH)]
    task = changed(plain, data=tmp_path / "rows.parquet", label="answer", inputs=inputs)
    assert accuracy(task) == accuracy(plain)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, path)
    return path


def single(layers: list[Any]) -> onnx.ModelProto:
    """The net with one score: that of the first class."""
    weights, bias = layers[-1]
    return net([*layers[:-1], (weights[:, :1].copy(), bias[:1].copy())])


def test_one_score_above_the_threshold(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    x = np.load(plain.data)["X"]
    score = forward(layers, x)[:, 0]
    np.savez(tmp_path / "rows.npz", X=x, y=score > 0.1)
    model = saved(tmp_path / "one.onnx", single(layers))
    task = changed(plain, model=model, data=tmp_path / "rows.npz", answer="threshold", threshold=0.1)
    assert accuracy(task) == 1.0
    assert accuracy(changed(task, threshold=1e6)) == pytest.approx((score <= 0.1).mean(), abs=0.05)


def test_a_regression_is_judged_by_its_bounded_error(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    x = np.load(plain.data)["X"]
    wrong = np.where(np.arange(len(x)) % 2, 0.5, 40.0)
    np.savez(tmp_path / "rows.npz", X=x, y=forward(layers, x)[:, 0] + wrong)
    np.savez(tmp_path / "calibration.npz", X=x + 1)
    task = changed(
        plain, model=saved(tmp_path / "one.onnx", single(layers)), data=tmp_path / "rows.npz",
        calibration=tmp_path / "calibration.npz", answer="value", scale=2.0,
    )  # fmt: skip
    assert accuracy(task) == pytest.approx((0.75 + 0.0) / 2, abs=1e-5)


def test_columns_of_scores_may_have_names(plain: QuantizeTask, tmp_path: Path) -> None:
    rows, names = np.load(plain.data), np.array(["ant", "bee", "cat", "dog", "eel"])
    np.savez(tmp_path / "rows.npz", X=rows["X"], y=names[rows["y"]])
    task = changed(plain, data=tmp_path / "rows.npz")
    assert accuracy(changed(task, classes=names.tolist())) == accuracy(plain)
    with pytest.raises(UsageError, match="classes="):
        RowsBench(task, 0)
    with pytest.raises(UsageError, match=r"no class 'eel'.*in classes"):
        RowsBench(changed(task, classes=["ant", "bee", "cat", "dog", "elk"]), 0)


def fixed(model: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = rows
    return model


def test_a_model_of_a_fixed_batch(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    task = changed(plain, model=saved(tmp_path / "eight.onnx", fixed(net(layers), 8)), batch=8)
    assert accuracy(task) == accuracy(plain)
    with pytest.raises(UsageError, match="type batch=8"):
        RowsBench(changed(task, batch=1), 0)


def test_overflow_is_a_wrong_answer(plain: QuantizeTask) -> None:
    bench = RowsBench(plain, 0)
    scores = np.array([[1.0, 2.0], [np.nan, 1.0]])
    assert bench.reader.answers(scores).tolist() == [1, -1]


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": list(range(100))}))


def zipped(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), x=np.zeros(3))
    path.with_suffix(".npz").rename(path)


def cut(path: Path) -> None:
    path.write_bytes(path.with_name("whole.onnx").read_bytes()[:3000])


NOT_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle": (pickled, "Python pickle.*not opened"),
    "text": (lambda path: path.write_text("weights: 1, 2, 3\n" * 20), "looks like text"),
    "json": (lambda path: path.write_text('{"layers": [1, 2]}'), "looks like JSON"),
    "zip": (zipped, "ZIP archive"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
    "gguf": (lambda path: path.write_bytes(b"GGUF" + bytes(100)), "GGUF"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "truncated": (cut, "cut off or damaged"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "missing": (lambda path: None, "no such file; did you mean .*whole.onnx"),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_what_is_no_model_is_named(plain: QuantizeTask, tmp_path: Path, kind: str) -> None:
    (tmp_path / "whole.onnx").write_bytes(plain.model.read_bytes())
    write, message = NOT_MODELS[kind]
    write(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=message):
        RowsBench(changed(plain, model=tmp_path / "model.onnx"), 0)


def test_a_pickle_is_never_opened(plain: QuantizeTask, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "model.onnx").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "rows.npz", X=np.array([Trap()] * 3, dtype=object), y=np.array([0, 1, 0]))
    for fields in ({"model": tmp_path / "model.onnx"}, {"data": tmp_path / "rows.npz"}):
        with pytest.raises(UsageError, match="run any code"):
            RowsBench(changed(plain, **fields), 0)
    assert not (tmp_path / "sprung").exists()


def test_a_pickled_estimator_is_opened_at_the_users_word(plain: QuantizeTask, tmp_path: Path) -> None:
    """What is judged is the model in the pickle: its answers are scikit-learn's own."""
    rows = np.load(plain.data)
    model = LogisticRegression().fit(rows["X"], rows["y"])
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    with pytest.raises(UsageError, match="type --trust"):
        RowsBench(changed(plain, model=path), 0)
    bench = RowsBench(changed(plain, model=path, trust=True, answer="auto"), 0)
    feed = bench.rows.take(np.arange(100))
    answers = bench.reader.answers(bench.original.answer(feed))
    assert answers.tolist() == model.predict(next(iter(feed.values()))).tolist()


def test_the_users_word_is_a_flag(plain: QuantizeTask, tmp_path: Path) -> None:
    rows = np.load(plain.data)
    joblib.dump(LogisticRegression().fit(rows["X"], rows["y"]), tmp_path / "model.joblib")
    words = ["weigh", "decide", "compress/quantize", "model=model.joblib", f"data={plain.data}", "rounds=10", "runs=2"]
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    refused = run([sys.executable, "-m", *words, "--quiet"])
    assert refused.returncode == 2 and "type --trust" in refused.stderr
    taken = run([sys.executable, "-m", *words, "--quiet", "--trust"])
    assert "Keep none, the baseline" in taken.stdout and "trust=true" in taken.stdout
    drift = run([sys.executable, "-m", "weigh", "decide", "monitor/drift", "--toy", "--trust"])
    assert drift.returncode == 2 and "leave --trust out" in drift.stderr


@pytest.mark.parametrize(
    ("held", "message"), [({"weights": [1]}, "holds dict; give a fitted"), (LogisticRegression(), "give a fitted")]
)
def test_a_trusted_pickle_that_holds_no_fitted_estimator_is_refused(
    plain: QuantizeTask, tmp_path: Path, held: object, message: str
) -> None:
    joblib.dump(held, tmp_path / "model.pkl")
    with pytest.raises(UsageError, match=message):
        RowsBench(changed(plain, model=tmp_path / "model.pkl", trust=True), 0)


def test_weights_of_a_constant_in_another_file_are_refused(plain: QuantizeTask, tmp_path: Path) -> None:
    """A Constant node's tensor may lie outside too, where neither size nor fingerprint would cover it."""
    model = onnx.load(plain.model)
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], raw_data=bytes(4))
    onnx.external_data_helper.set_external_data(tensor, "w.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["w"], value=tensor))
    with pytest.raises(UsageError, match="keeps its weights in another file"):
        RowsBench(changed(plain, model=saved(tmp_path / "constant.onnx", model)), 0)


def test_a_model_without_inputs_is_refused(plain: QuantizeTask, tmp_path: Path) -> None:
    node = helper.make_node("Constant", [], ["scores"], value=helper.make_tensor("v", 1, [1, CLASSES], [0.0] * CLASSES))
    out = helper.make_tensor_value_info("scores", 1, [1, CLASSES])
    model = helper.make_model(helper.make_graph([node], "g", [], [out]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    with pytest.raises(UsageError, match="takes no inputs"):
        RowsBench(changed(plain, model=saved(tmp_path / "none.onnx", model)), 0)


def test_files_that_are_no_archives_of_arrays_are_refused(plain: QuantizeTask, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", RANDOM)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "text.npz").write_text("x,y")
    for name in ("one.npz", "text.npz"):
        with pytest.raises(UsageError, match=r"is no \.npz archive; write one: numpy.savez"):
            RowsBench(changed(plain, data=tmp_path / name), 0)


def test_weights_in_another_file_are_refused(plain: QuantizeTask, tmp_path: Path) -> None:
    model = onnx.load(plain.model)
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(UsageError, match="write one file"):
        RowsBench(changed(plain, model=tmp_path / "split.onnx"), 0)


def test_an_operator_that_the_runtime_lacks(plain: QuantizeTask, tmp_path: Path) -> None:
    model = onnx.load(plain.model)
    model.graph.node[0].domain = "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    with pytest.raises(UsageError, match=r"uses the operator org\.example:Gemm, which ONNX Runtime"):
        RowsBench(changed(plain, model=saved(tmp_path / "odd.onnx", model)), 0)


RANDOM = np.random.default_rng(0).normal(size=(300, WIDTH))
BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"y": None, "target": np.arange(300) % 2}, "no array 'y'"),
    "no inputs": ({"X": None, "x": np.zeros((300, WIDTH))}, "no array 'X'.*known: y, x"),
    "features": ({"X": np.zeros((300, WIDTH - 1))}, "takes any x 24, but .* holds 300 x 23"),
    "one class": ({"y": np.ones(300, int)}, "'y' is 1 in every row"),
    "a gap": (
        {"X": np.where(np.arange(300 * WIDTH).reshape(300, -1) == 50, np.nan, 0.0)},
        "holds nan in row 2, feature 3",
    ),
    "infinite": ({"X": np.full((300, WIDTH), 1e300)}, "holds inf in row 0"),
    "label gaps": ({"y": np.where(np.arange(300) < 3, np.nan, np.arange(300) % 2)}, "'y' has 3 gaps"),
    "class outside": ({"y": np.arange(300) % (CLASSES + 2)}, "holds 5, 6, but the output 'scores' has 5 columns"),
    "too few": (
        {"X": RANDOM[:220], "y": np.arange(220) % 2},
        "200 of them for calibration leave 20 to judge",
    ),
    "no rows": ({"X": np.zeros((0, WIDTH)), "y": np.zeros(0)}, "0 rows|leave 0"),
    "complex": ({"X": RANDOM.astype(complex)}, "gives complex128; convert it first"),
    "words": ({"X": RANDOM.astype(str)}, "convert it first"),
    "length": ({"y": np.arange(299) % 2}, r"the shape \(299,\) for 300 rows"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_rows_that_cannot_judge(plain: QuantizeTask, tmp_path: Path, kind: str) -> None:
    arrays, message = BAD_ROWS[kind]
    arrays = {"X": RANDOM, "y": np.arange(300) % 2, **arrays}
    np.savez(tmp_path / "rows.npz", **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(UsageError, match=message):
        RowsBench(changed(plain, data=tmp_path / "rows.npz"), 0)


BAD_TABLES: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "no label": (lambda table: table.rename({"answer": "anser"}), "'answer'.*did you mean 'anser'"),
    "features": (lambda table: table.drop("f3"), "takes 24 features .* gives 23 .*inputs="),
    "text": (lambda table: table.with_columns(f3=pl.lit("red")), "'f3' as a number.*holds 'red'"),
    "gaps": (lambda table: table.with_columns(f3=pl.when(pl.col("f3") > 0).then("f3")), "'f3' has .* gaps"),
    "empty": (lambda table: table.clear(), "without rows"),
    "one class": (lambda table: table.with_columns(answer=pl.lit(1)), "'answer' is 1 in every row"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_tables_that_cannot_judge(plain: QuantizeTask, table: pl.DataFrame, tmp_path: Path, kind: str) -> None:
    spoil, message = BAD_TABLES[kind]
    spoil(table).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match=message):
        RowsBench(changed(plain, data=tmp_path / "rows.parquet", label="answer"), 0)


def two_outputs(layers: list[Any]) -> onnx.ModelProto:
    model = net(layers)
    model.graph.output.append(helper.make_tensor_value_info("hidden0", TensorProto.FLOAT, ["rows", SIZES[1]]))
    return model


def test_outputs_that_could_mean_two_things(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    one = changed(plain, model=saved(tmp_path / "one.onnx", single(layers)))
    with pytest.raises(UsageError, match=r"answer=threshold.*or answer=value"):
        RowsBench(one, 0)
    with pytest.raises(UsageError, match="scale="):
        RowsBench(changed(one, answer="value"), 0)
    two = changed(plain, model=saved(tmp_path / "two.onnx", two_outputs(layers)))
    with pytest.raises(UsageError, match=r"has 2 outputs .*output=scores"):
        RowsBench(two, 0)
    with pytest.raises(UsageError, match=r"no output 'score'.*did you mean 'scores'"):
        RowsBench(changed(two, output="score"), 0)
    assert accuracy(changed(two, output="scores")) == accuracy(plain)
    with pytest.raises(UsageError, match="answer=scores or answer=threshold"):
        RowsBench(changed(plain, answer="label"), 0)


def test_labels_written_otherwise_than_the_model_says(digits: Any, tmp_path: Path) -> None:
    task = digits[0]
    rows = np.load(task.data)
    np.savez(tmp_path / "rows.npz", X=rows["X"], y=np.array([f"digit {y}" for y in rows["y"]]))
    with pytest.raises(UsageError, match="write the labels as the model does"):
        RowsBench(changed(task, data=tmp_path / "rows.npz"), 0)


def sums(tmp_path: Path, left: list[Any], right: list[Any]) -> Path:
    """A model of two inputs of these shapes, which answers with their sum."""
    nodes = [helper.make_node("Add", ["left", "right"], ["scores"])]
    shapes = {"left": left, "right": right}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["out", 4])
    graph = helper.make_graph(nodes, "sums", ports, [output], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return saved(tmp_path / "sums.onnx", model)


ROW, ONE = np.random.default_rng(0).normal(size=(400, 4)), np.ones((1, 4))
BAD_PAIRS: dict[str, tuple[list[Any], list[Any], Any, str]] = {
    "one for all rows": (["rows", 4], ["any", 4], ONE, "'right' has 1 values for 400 rows"),
    "fixed to one": (["rows", 4], [1, 4], ONE, "'right' has 1 values for 400 rows"),
    "a number": (["rows", 4], [], np.float32(2), "'right' is a single number"),
    "two sizes": ([4, 4], [1, 4], ROW, r"different numbers of rows \('left' 4, 'right' 1\)"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
def test_inputs_that_are_no_rows(plain: QuantizeTask, tmp_path: Path, kind: str) -> None:
    left, right, values, message = BAD_PAIRS[kind]
    np.savez(tmp_path / "rows.npz", left=ROW, right=values, y=np.arange(400) % 4)
    with pytest.raises(UsageError, match=message):
        RowsBench(changed(plain, model=sums(tmp_path, left, right), data=tmp_path / "rows.npz"), 0)


def test_one_fixed_input_fixes_the_batch(plain: QuantizeTask, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", left=ROW, right=ROW, y=ROW.argmax(axis=1))
    task = changed(plain, model=sums(tmp_path, ["rows", 4], [2, 4]), data=tmp_path / "rows.npz")
    with pytest.raises(UsageError, match="type batch=2"):
        RowsBench(task, 0)
    assert accuracy(changed(task, batch=2)) == 1.0


def test_rows_that_calibrate_do_not_judge(plain: QuantizeTask, tmp_path: Path) -> None:
    apart = RowsBench(changed(plain, calibration=plain.data), 0)
    judged, seen = apart.rows.feeds["X"], apart.split.calibration.feeds["X"]
    assert (len(seen), len(judged), apart.split.left_out) == (200, 500, 200)
    assert len(np.unique(np.concatenate([judged, seen]), axis=0)) == 700


def test_a_row_that_occurs_often_judges_as_often(plain: QuantizeTask, tmp_path: Path) -> None:
    """Half of the rows are one and the same; were rows drawn, they would all be left out, whatever the seed."""
    rows = np.load(plain.data)
    x, y = np.concatenate([rows["X"], np.repeat(rows["X"][:1], 700, axis=0)]), np.concatenate([rows["y"], rows["y"]])
    np.savez(tmp_path / "rows.npz", X=x, y=y)
    split = RowsBench(changed(plain, data=tmp_path / "rows.npz", calibration_rows=50), 0).split
    seen = split.calibration.feeds["X"]
    assert len(np.unique(seen, axis=0)) == split.calibration.rows == 50
    assert len(split.judged) + 50 + split.left_out == 1400
    assert not (x[split.judged][:, None, :] == seen).all(axis=2).any()
    assert (len(split.judged), split.left_out) == (1350, 0)


def test_too_few_distinct_rows(plain: QuantizeTask, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.repeat(RANDOM[:30], 10, axis=0), y=np.arange(300) % 2)
    task = changed(plain, data=tmp_path / "rows.npz")
    with pytest.raises(UsageError, match=r"30 of them for calibration and 270 that repeat .*calibration_rows=3"):
        RowsBench(task, 0)
    assert len(RowsBench(changed(task, calibration_rows=3), 0).rows) == 270


def test_a_model_of_several_inputs(layers: list[Any], plain: QuantizeTask, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("MatMul", ["sum", "weights"], ["scores"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in ("left", "right")]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 4])
    identity = numpy_helper.from_array(np.eye(4, dtype=np.float32), "weights")
    graph = helper.make_graph(nodes, "sum", ports, [output], [identity])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).normal(size=(2, 400, 4))
    np.savez(tmp_path / "rows.npz", left=x[0], right=x[1], y=x.sum(axis=0).argmax(axis=1))
    task = changed(plain, model=saved(tmp_path / "sum.onnx", model), data=tmp_path / "rows.npz")
    assert accuracy(task) == 1.0
    bench = RowsBench(task, 0)
    assert bench.load(bench.prepare(Jitter()).made.path).answer(bench.rows.feeds).shape == (200, 4)
