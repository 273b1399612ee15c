"""Races over artefacts: what is chosen, on which rows, and what is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from weigh import catalog, decide
from weigh.choice import Curves, Table, Unfit
from weigh.compress.quantize import Calibration, Quantize, Quantizer, QuantizeTask
from weigh.compress.quantize._planted import Jitter
from weigh.compress.quantize._toy import forward, net, random_layers
from weigh.compress.quantize.float16 import Float16
from weigh.engine.inline import InlineEngine
from weigh.model.artefact import artefact
from weigh.model.rows_bench import RowsBench
from weigh.model.source import Source, open_source

HERE = Path(__file__).parent
CALIBRATED = [
    "int8_static",
    "int8_static:calibration=entropy",
    "int8_static:calibration=percentile",
    "int8_per_channel",
]


def race(task: QuantizeTask, folder: Path, **asked: Any) -> Any:
    engine = asked.pop("engine", None) or InlineEngine()
    return decide("compress/quantize", task, ledger=folder / "ledger.db", records=None, engine=engine, **asked)


def test_a_worker_process_races_all_options_of_the_toy(choice: Quantize, tmp_path: Path) -> None:
    from weigh.engine.local import LocalEngine

    task = choice.toy(tmp_path).model_copy(update={"rounds": 30})
    decision = race(task, tmp_path, objective="size", require=["accuracy >= baseline - 0.02"], engine=LocalEngine())
    assert {standing.outcome for standing in decision.standings}.isdisjoint({"failed"})
    size = {standing.option: standing.measured["size"].estimate for standing in decision.standings}
    assert size["float16"] < size["none"]
    assert decision.chosen in ("bfloat16", "float16", "none")


def test_the_planted_loser_is_smallest_and_never_chosen(choice: Quantize, tmp_path: Path) -> None:
    decision = race(choice.toy(tmp_path), tmp_path, options=[*choice.twins(), choice.loser()])
    loser = decision.standing("hollow")
    assert loser.outcome == "violates"
    assert loser.measured["size"].estimate < decision.standing("none").measured["size"].estimate / 2
    assert decision.chosen != "hollow"


class Worse(Quantizer):
    """float16, with a little too much belief in the first class. Source: none."""

    shift: float = 0.11

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        changed = onnx.load(source.path)
        bias = next(tensor for tensor in changed.graph.initializer if tensor.name == "bias2")
        moved = numpy_helper.to_array(bias) + self.shift * (np.arange(bias.dims[0]) == 0)
        bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias.name))
        onnx.save(changed, folder / "changed.onnx")
        made = Float16().convert(open_source(folder / "changed.onnx"), calibration, folder)
        (folder / "changed.onnx").unlink()
        return made


def test_two_points_of_accuracy_are_not_given_away_for_half_of_the_size(choice: Quantize, tmp_path: Path) -> None:
    task = choice.toy(tmp_path)
    rows, layers = np.load(task.data), random_layers((16, 32, 16, 4))
    scores = forward(layers, rows["X"])
    right, worse = ((scores + np.eye(4)[0] * shift).argmax(axis=1) == rows["y"] for shift in (0, Worse().shift))
    assert 0.015 < right.mean() - worse.mean() < 0.025
    decision = race(task, tmp_path, options=[Worse()], objective="size")
    assert (decision.chosen, decision.standing(Worse().spec).outcome) == ("none", "violates")


def test_an_outlier_spoils_one_scale_a_tensor_and_not_one_a_channel(
    plain: QuantizeTask, layers: list[Any], tmp_path: Path
) -> None:
    """The same function, written with one hidden unit 1,000 times greater and its weights 1,000 times smaller."""
    (first, bias), (second, other), last = [(weights.copy(), b.copy()) for weights, b in layers]
    first[:, 5], bias[5], second[5] = 1000 * first[:, 5], 1000 * bias[5], second[5] / 1000
    onnx.save(net([(first, bias), (second, other), last]), tmp_path / "uneven.onnx")
    task = plain.model_copy(update={"model": tmp_path / "uneven.onnx"})
    options = ["float16", "int8_dynamic", "int8_static"]
    decision = race(task, tmp_path, options=options, objective="size", require=["accuracy >= baseline - 0.1"])
    assert decision.chosen == "float16"
    assert {decision.standing(name).outcome for name in options[1:]} == {"violates"}


def test_more_work_is_found_slower(plain: QuantizeTask, tmp_path: Path) -> None:
    task = plain.model_copy(update={"rounds": 120, "runs": 3})
    decision = race(task, tmp_path, options=[str(HERE / "slow_option.py")], require=[])
    assert (decision.verdict, decision.chosen) == ("chosen", "none")
    assert decision.standing("slow_option").outcome == "dominated"
    assert decision.standing("slow_option").versus_baseline["latency"].low > 1


def test_when_all_rows_were_seen_the_interval_is_exact(plain: QuantizeTask, layers: list[Any], tmp_path: Path) -> None:
    task = plain.model_copy(update={"held_back": 0.0, "finite": True})
    twins = [Jitter(seed=1, noise=1e-7), Jitter(seed=2, noise=1e-7)]
    decision = race(task, tmp_path, options=twins, objective="accuracy", require=[])
    rows = np.load(plain.data)
    kept = np.sort(np.random.default_rng(0).permutation(700)[200:])
    true = (forward(layers, rows["X"][kept]).argmax(axis=1) == rows["y"][kept]).mean()
    accuracy = decision.standing("none").measured["accuracy"]
    assert (decision.verdict, decision.blocks) == ("tie", 10)
    assert (accuracy.low, accuracy.high) == pytest.approx((true, true))


def test_a_certificate_on_a_finite_set_says_so_and_speaks_for_no_others(plain: QuantizeTask, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "options": ["int8_dynamic"],
        "require": ["accuracy >= baseline - 0.2"],
        "objective": "size",
    }
    finite = race(plain.model_copy(update={"finite": True}), tmp_path / "finite", **asked)
    open_ended = race(plain, tmp_path / "open", **asked)
    assert "meets every constraint on these 500 rows" in finite.answer
    assert "rows" not in open_ended.answer
    widths = [one.standing("int8_dynamic").versus_baseline["accuracy"] for one in (finite, open_ended)]
    assert "without replacement" in widths[0].assumption and "without replacement" not in widths[1].assumption


def test_each_row_is_judged_once_and_none_that_calibrates(plain: QuantizeTask) -> None:
    bench = RowsBench(plain, seed=0)
    judged, seen = bench.rows.feeds["X"], bench.split.calibration.feeds["X"]
    everything = np.load(plain.data)["X"]
    assert len(np.unique(np.concatenate([judged, seen]), axis=0)) == len(everything) == len(judged) + len(seen)
    assert sorted(bench._order.tolist()) == list(range(len(judged)))
    assert bench._cuts[0] == 0 and bench._cuts[-1] == len(judged) and bench.blocks.population is None
    assert np.all(np.diff(bench._cuts) > 0)


def test_the_seed_moves_rows_and_not_artefacts(plain: QuantizeTask) -> None:
    benches = [RowsBench(plain, seed) for seed in (0, 0, 1)]
    orders = [bench._order.tolist() for bench in benches]
    assert orders[0] == orders[1] != orders[2]
    paths = {bench.prepare(catalog.find(Quantize(), "int8_static")).made.path for bench in benches}
    assert len(paths) == 1


def test_an_artefact_is_made_once_by_many(plain: QuantizeTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    bench = RowsBench(plain, seed=0)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: artefact(Jitter(), bench.model, bench.split.calibration), range(4)))
    (made,) = paths
    before = made.path.stat().st_mtime_ns
    assert artefact(Jitter(), bench.model, bench.split.calibration).path.stat().st_mtime_ns == before
    assert [entry.name for entry in made.path.parent.parent.iterdir()] == [made.path.parent.name]
    assert artefact(Jitter(seed=9), bench.model, bench.split.calibration) != made


class Broken(Quantizer):
    """Writes half a file and gives up. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError("no space left")


def test_what_fails_leaves_nothing_behind(plain: QuantizeTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="no space"):
        RowsBench(plain, seed=0).prepare(Broken())
    assert list((tmp_path / "artefacts").iterdir()) == []


@pytest.mark.parametrize("option", ["float16", "int8_dynamic", *CALIBRATED])
def test_trees_have_nothing_to_quantize(choice: Quantize, tmp_path: Path, option: str) -> None:
    from skl2onnx import to_onnx
    from sklearn.tree import DecisionTreeClassifier

    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    tree = DecisionTreeClassifier(max_depth=3).fit(x, x[:, 0] > 0)
    (tmp_path / "tree.onnx").write_bytes(to_onnx(tree, x[:1], options={"zipmap": False}).SerializeToString())
    np.savez(tmp_path / "rows.npz", X=x, y=x[:, 0] > 0)
    bench = RowsBench(QuantizeTask(model=tmp_path / "tree.onnx", data=tmp_path / "rows.npz"), seed=0)
    with pytest.raises(Unfit, match=r"nothing to (halve|quantize).*TreeEnsembleClassifier"):
        bench.prepare(catalog.find(choice, option))


@pytest.fixture
def convolution(tmp_path: Path) -> QuantizeTask:
    random = np.random.default_rng(0)
    filters = random.normal(size=(6, 1, 3, 3)).astype(np.float32)
    head = random.normal(size=(6 * 36, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["X", "filters"], ["maps"], name="conv"),
        helper.make_node("Relu", ["maps"], ["held"], name="relu"),
        helper.make_node("Flatten", ["held"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "head"], ["scores"], name="head"),
    ]
    ports = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 1, 8, 8])]
    ports += [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 4])]
    weights = [numpy_helper.from_array(filters, "filters"), numpy_helper.from_array(head, "head")]
    graph = helper.make_graph(nodes, "convolution", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    images = random.normal(size=(500, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", X=images, y=random.integers(4, size=500))
    return QuantizeTask(model=tmp_path / "model.onnx", data=tmp_path / "rows.npz", rounds=5, runs=2)


@pytest.mark.parametrize("option", ["float16", "int8_dynamic", *CALIBRATED])
def test_convolutions_are_served(
    choice: Quantize, convolution: QuantizeTask, whole_race: Callable[..., dict[str, np.ndarray]], option: str
) -> None:
    values = whole_race(convolution, catalog.find(choice, option))
    assert values["agreement"].mean() > 0.93
    made = onnx.load(RowsBench(convolution, 0).prepare(catalog.find(choice, option)).made.path)
    types = {tensor.data_type for tensor in made.graph.initializer if list(tensor.dims) == [6, 1, 3, 3]}
    expected = {"float16": TensorProto.FLOAT16, "int8_dynamic": TensorProto.FLOAT}
    assert types == {expected.get(option, TensorProto.INT8)}


@pytest.mark.parametrize("option", ["float16", "int8_dynamic", *CALIBRATED])
def test_old_opsets_are_served(
    choice: Quantize, plain: QuantizeTask, layers: list[Any], tmp_path: Path, option: str
) -> None:
    onnx.save(net(layers, opset=9), tmp_path / "old.onnx")
    bench = RowsBench(plain.model_copy(update={"model": tmp_path / "old.onnx"}), seed=0)
    answers = bench.reader.answers(
        bench.load(bench.prepare(catalog.find(choice, option)).made.path).answer(bench.rows.feeds)
    )
    assert (answers == forward(layers, bench.rows.feeds["X"]).argmax(axis=1)).mean() > 0.9


def test_exhibits_show_every_artefact(choice: Quantize, plain: QuantizeTask) -> None:
    bench = RowsBench(plain, seed=0)
    subjects = {name: bench.prepare(catalog.find(choice, name)) for name in ("none", "float16", "int8_dynamic")}
    table, curves, files = bench.exhibits(subjects)
    assert isinstance(table, Table) and isinstance(curves, Curves) and isinstance(files, Table)
    rows = {row[0]: dict(zip(table.columns, row)) for row in table.rows}
    assert rows["none"]["size / none"] == rows["none"]["agrees with the original"] == 1
    assert rows["float16"]["size / none"] == pytest.approx(0.5, abs=0.03)
    low, ratio, high = (rows["int8_dynamic"][column] for column in ("low", "time / none", "high"))
    assert (low or 0.0) <= ratio <= (high or math.inf)  # an end is left out where rounds resemble each other too much
    assert all(list(line.y) == sorted(line.y) and line.y[0] > 0 for line in curves.lines)
    for _, digest, path in files.rows:
        assert digest == hashlib.sha256(Path(str(path)).read_bytes()).hexdigest()
    json.dumps([exhibit.model_dump(mode="json") for exhibit in (table, curves, files)], allow_nan=False)


def test_a_net_of_random_weights_is_the_same_again() -> None:
    first, second = random_layers((3, 4, 2), 7), random_layers((3, 4, 2), 7)
    assert all(np.array_equal(a, b) for pair in zip(first, second) for a, b in zip(*pair))
