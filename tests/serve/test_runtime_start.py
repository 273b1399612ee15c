"""Runtimes in processes of their own: how they start, what they need, what they say when they cannot."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runtime_tasks import bert_fields, conv_fields, llama_fields

from weigh import catalog
from weigh.choice import Block, Curves, Table, Unfit, UsageError
from weigh.model.artefact import artefact
from weigh.model.task import Calibration
from weigh.serve.runtime import Run, Runtime, RuntimeTask, Served, Setting, convert
from weigh.serve.runtime import _bench as bench_module
from weigh.serve.runtime import _fresh as fresh_module
from weigh.serve.runtime._bench import RuntimeBench
from weigh.serve.runtime._exhibits import quantile
from weigh.serve.runtime._fresh import started
from weigh.serve.runtime._parity import gap
from weigh.serve.runtime._planted import Slow
from weigh.serve.runtime.aot_inductor import AotInductor, need_processor
from weigh.serve.runtime.compiled import Compiled
from weigh.serve.runtime.eager import Eager
from weigh.serve.runtime.onnx_runtime import OnnxRuntime
from weigh.serve.runtime.openvino import OpenVino
from weigh.serve.runtime.tensor_parallel import TensorParallel
from weigh.serve.runtime.tensorrt import TensorRt

SMALL: dict[str, Any] = {"rounds": 4, "runs": 2, "batch_sizes": (1, 3), "parity_rows": 6}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> RuntimeBench:
    return RuntimeBench(RuntimeTask(**conv_fields(tmp_path_factory.mktemp("task")), **SMALL), 0)  # type: ignore[arg-type]


def test_a_runtime_without_torch_starts_in_a_fresh_process_and_needs_little(
    bench: RuntimeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was built beforehand works in another process; measured once, then remembered."""
    option = OnnxRuntime()
    made = artefact(option, bench.source, bench.calibration)
    feed = bench.feed(1, 0)
    seconds, megabytes = started(option, made, bench.source, bench.setting, feed)
    assert 0.05 < seconds < 30 and 30 < megabytes < 200, "a process that imports torch has more than 200 MB"
    monkeypatch.setattr(fresh_module, "_run", None)
    assert started(option, made, bench.source, bench.setting, bench.feed(1, 5)) == (seconds, megabytes)
    with pytest.raises(TypeError):
        started(option, made, bench.source, bench.setting, bench.feed(2, 0))


@pytest.mark.parametrize("option", [OnnxRuntime(), OpenVino()], ids=lambda one: one.name)
def test_what_was_measured_is_written_and_works_where_it_lies(
    option: Runtime, bench: RuntimeBench, tmp_path: Path
) -> None:
    path = convert(bench.task, option, tmp_path / "chosen")
    assert path.read_bytes() == artefact(option, bench.source, bench.calibration).path.read_bytes()
    feed = bench.feed(3, 0)
    answers = option.open(path, bench.source, bench.setting).answer(feed)
    assert gap(answers, bench.eager.answer(feed), bench.source) < 1e-4


def test_a_runtime_that_runs_the_model_as_it_is_writes_nothing(bench: RuntimeBench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"eager runs .*net.safetensors as it is: there is nothing to write"):
        convert(bench.task, Eager(), tmp_path / "chosen")
    assert not (tmp_path / "chosen").exists()


class Refuses(Runtime):
    """Refuses where it would serve. Source: none."""

    name = "refuses"

    def convert(self, source: Any, calibration: Calibration, folder: Path) -> Path:
        return source.path  # type: ignore[no-any-return]

    def open(self, path: Path, source: Any, setting: Setting) -> Served:
        raise Unfit("there is no room here: find some")


class Breaks(Runtime):
    """Breaks down where it would serve. Source: none."""

    name = "breaks"

    def convert(self, source: Any, calibration: Calibration, folder: Path) -> Path:
        return source.path  # type: ignore[no-any-return]

    def open(self, path: Path, source: Any, setting: Setting) -> Served:
        raise OSError("no such device")


def test_what_a_fresh_process_says_is_passed_on(bench: RuntimeBench) -> None:
    with pytest.raises(Unfit, match="there is no room here: find some"):
        bench.prepare(Refuses())
    with pytest.raises(RuntimeError, match="a fresh process cannot answer: OSError: no such device"):
        bench.prepare(Breaks())


def test_times_are_of_warm_runs_and_a_pause_is_seen(bench: RuntimeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "started", lambda *given: (1.0, 1.0))
    eager, slow = bench.prepare(Eager()), bench.prepare(Slow())
    block = Block(index=0, seed=7)
    mine, theirs = (bench.trial(one, block) for one in (slow, eager))
    assert mine["latency"][0] > 20 > theirs["latency"][0]  # type: ignore[index]
    assert mine["throughput"][0] < 150 < theirs["throughput"][0]  # type: ignore[index]
    assert mine["agreement"] == theirs["agreement"] == [1.0] * 4 and mine["parity"] == theirs["parity"] == 0.0


def test_exhibits_show_times_by_batch_size_with_intervals(bench: RuntimeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "started", lambda *given: (1.0, 1.0))
    shown = bench.exhibits({"eager": bench.prepare(Eager()), "onnx_runtime": bench.prepare(OnnxRuntime())})
    median, p95, table, made = shown
    assert (
        isinstance(median, Curves) and isinstance(p95, Curves) and isinstance(table, Table) and isinstance(made, Table)
    )
    for line in median.lines:
        assert line.x == (1, 3)
        assert all(low <= middle <= high for low, middle, high in zip(line.low, line.y, line.high))  # type: ignore[operator]
    assert [row[:2] for row in table.rows] == [(name, size) for name in ("eager", "onnx_runtime") for size in (1, 3)]
    assert [row[0] for row in made.rows] == ["eager", "onnx_runtime"]


def test_intervals_of_quantiles_cover_as_promised() -> None:
    """Source: David and Nagaraja, Order Statistics (2003), section 7.1; here by simulation."""
    import numpy as np

    random, held = np.random.default_rng(0), 0
    for _ in range(1000):
        _, low, high = quantile(random.uniform(size=30).tolist(), 0.5)
        held += low <= 0.5 <= high  # type: ignore[operator]
    assert held >= 940
    assert quantile([1.0, 2.0, 3.0], 0.95)[2] is None, "three runs bound no p95 from above"


def test_a_task_of_another_shape_is_refused_with_what_to_type(bench: RuntimeBench, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "named.npz", pixels=np.zeros((50, 1, 8, 8), np.float32))
    with pytest.raises(UsageError, match=r"there is no array 'X' in .*named.npz.*known: pixels"):
        RuntimeBench(bench.task.model_copy(update={"data": tmp_path / "named.npz"}), 0)
    with pytest.raises(UsageError, match=r"has 120 rows, and 502 are the fewest for batches of 500"):
        RuntimeBench(bench.task.model_copy(update={"batch_sizes": (500,)}), 0)


OPERATOR = "lambda scores: torch.linalg.eigvals(scores.reshape(-1, 1, 5).expand(-1, 5, 5)).abs()"
BRANCH = "lambda scores: scores if scores.sum() > 0 else -scores"


@pytest.mark.parametrize(
    ("option", "change", "says"),
    [
        (OnnxRuntime(), f"({OPERATOR})", r"aten\.linalg_eig.* which ONNX has no translation for"),
        (OpenVino(), f"({OPERATOR})", r"aten\.linalg_eig.* which OpenVINO has no translation for"),
        (OnnxRuntime(), f"({BRANCH})", "torch.export cannot trace the net .* must not branch on values"),
        (AotInductor(), f"({BRANCH})", "torch.export cannot trace the net .* must not branch on values"),
    ],
    ids=["onnx", "openvino", "branch", "branch-aot"],
)
def test_what_cannot_be_exported_names_what_stands_in_the_way(
    option: Runtime, change: str, says: str, tmp_path: Path
) -> None:
    bench = RuntimeBench(RuntimeTask(**conv_fields(tmp_path / "net", change), **SMALL), 0)  # type: ignore[arg-type]
    with pytest.raises(Unfit, match=says):
        artefact(option, bench.source, bench.calibration)


@pytest.mark.parametrize("option", [Compiled(), AotInductor()], ids=lambda option: option.name)
def test_without_a_compiler_it_says_what_to_install(
    option: Runtime, bench: RuntimeBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unfit, match=r"finds no compiler 'no-such-compiler'.*apt-get install g\+\+"):
        option.open(option.convert(bench.source, bench.calibration, tmp_path), bench.source, bench.setting)


@pytest.mark.parametrize(
    ("processes", "says"), [(3, r"4 heads in 2 groups cannot be shared by 3 processes; type processes=2")]
)
def test_heads_that_processes_cannot_share_are_refused(processes: int, says: str, tmp_path: Path) -> None:
    bench = RuntimeBench(RuntimeTask(**llama_fields(tmp_path), **SMALL), 0)  # type: ignore[arg-type]
    with pytest.raises(Unfit, match=says):
        artefact(TensorParallel(processes=processes), bench.source, bench.calibration)


def test_nets_of_convolutions_are_not_split_and_onnx_files_not_compiled(bench: RuntimeBench, tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="splits the layers of a Hugging Face transformer, and this model is module"):
        artefact(TensorParallel(), bench.source, bench.calibration)
    graph = OnnxRuntime().convert(bench.source, bench.calibration, tmp_path)
    onnx = RuntimeBench(RuntimeTask(model=graph, data=bench.task.data, **SMALL), 0)
    with pytest.raises(Unfit, match=r"torch.compile changes torch modules, and this model is onnx"):
        artefact(Compiled(), onnx.source, onnx.calibration)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [llama_fields, bert_fields])
def test_a_model_shared_by_two_processes_gives_eagers_answers_and_leaves_no_process(
    fields: Any, tmp_path: Path
) -> None:
    import psutil

    bench = RuntimeBench(RuntimeTask(**fields(tmp_path), **SMALL), 0)
    other = TensorParallel().open(bench.source.path, bench.source, bench.setting)
    for rows in (1, 3):
        feed = bench.feed(rows, rows)
        assert gap(other.answer(feed), bench.eager.answer(feed), bench.source) < 1e-4
    members = [one for one in psutil.Process().children() if "weigh.serve.runtime._shard" in one.cmdline()]
    assert len(members) == 2 and other.others_mb() > 200
    del other
    gc.collect()
    deadline = time.monotonic() + 10
    while any(one.is_running() for one in members) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(one.is_running() for one in members)


@pytest.mark.slow
def test_what_is_compiled_gives_eagers_answers_and_a_package_starts_without_compiling(tmp_path: Path) -> None:
    """The package is opened by a process that has no compiler; `torch.compile` takes its seconds at every start."""
    bench = RuntimeBench(RuntimeTask(**conv_fields(tmp_path), **SMALL), 0)  # type: ignore[arg-type]
    compiled = bench.prepare(Compiled())
    with pytest.MonkeyPatch.context() as patch:
        made = artefact(AotInductor(), bench.source, bench.calibration)
        patch.setenv("CXX", "no-such-compiler")
        package = bench.prepare(AotInductor())
    assert made.path == package.made.path
    assert compiled.exact["parity"] < 1e-5 and package.exact["parity"] < 1e-5
    assert compiled.exact["startup"] > package.exact["startup"]


@pytest.mark.parametrize(
    ("wanted", "have", "fits"),
    [
        ("AVX512 AVX512_VNNI", "AVX512", True), ("AVX512", "AVX2", False), ("AVX2", "AVX512", True),
        ("AVX2", "DEFAULT", False), ("", "DEFAULT", True), ("NEON", "DEFAULT", True),
    ],
)  # fmt: skip
def test_a_package_for_instructions_that_are_not_here_is_refused(wanted: str, have: str, fits: bool) -> None:
    if fits:
        need_processor(wanted, have)
    else:
        with pytest.raises(Unfit, match=f"compiled for {wanted}, and this processor has {have}: empty weigh's cache"):
            need_processor(wanted, have)


@pytest.mark.gpu
def test_an_engine_of_tensorrt_gives_eagers_answers(bench: RuntimeBench) -> None:
    if missing := catalog.find(Run(), "tensorrt").needs.missing():
        pytest.skip("; ".join(missing))
    made = artefact(TensorRt(), bench.source, bench.calibration)
    other = TensorRt().open(made.path, bench.source, bench.setting)
    assert gap(other.answer(bench.feed(3, 0)), bench.eager.answer(bench.feed(3, 0)), bench.source) < 1e-4


def test_an_engine_is_built_without_a_gpu_and_a_rejected_node_is_named(bench: RuntimeBench, tmp_path: Path) -> None:
    import onnx

    from weigh.serve.runtime._engine import bindings, build

    try:
        bindings()
    except Unfit as reason:
        pytest.skip(str(reason))
    made = artefact(TensorRt(capability="SM86"), bench.source, bench.calibration)
    assert made.path.name == "model.engine" and made.megabytes > 0.01
    node = onnx.helper.make_node("Mystery", ["X"], ["Y"], "strange", domain="elsewhere")
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "XY"]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("elsewhere", 1)]), tmp_path / "g.onnx"
    )
    with pytest.raises(Unfit, match=r"TensorRT-RTX rejects the graph .*Mystery 'strange'"):
        build(tmp_path / "g.onnx", tmp_path / "g.engine", {"X": (1, 4)}, "SM86")
