"""Every runtime gives eager's answers, on every kind of model; what does not, fails with the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from runtime_tasks import bert_fields, conv_fields, llama_fields, users_cache

from weigh import catalog, decide
from weigh.choice import UsageError
from weigh.engine.inline import InlineEngine
from weigh.model.artefact import artefact
from weigh.model.task import Calibration
from weigh.serve.runtime import Run, Runtime, RuntimeTask, Served, Setting
from weigh.serve.runtime import _bench as bench_module
from weigh.serve.runtime._bench import RuntimeBench
from weigh.serve.runtime._parity import FellBack, WrongOutput, agreement, gap
from weigh.serve.runtime._planted import Rounded
from weigh.serve.runtime.onnx_runtime import OnnxRuntime
from weigh.serve.runtime.openvino import OpenVino

FIELDS = {"language": llama_fields, "encoder": bert_fields, "classifier": conv_fields}
SMALL: dict[str, Any] = {"rounds": 4, "runs": 1, "batch_sizes": (1, 3), "parity_rows": 6}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RuntimeBench]:
    folder = tmp_path_factory.mktemp("tasks")
    made = {kind: RuntimeTask(**fields(folder / kind), **SMALL) for kind, fields in FIELDS.items()}  # type: ignore[arg-type]
    return {kind: RuntimeBench(task, 0) for kind, task in made.items()}


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fresh process, where its figures do not matter."""
    monkeypatch.setattr(bench_module, "started", lambda *given: (1.0, 1.0))


def served(bench: RuntimeBench, option: Runtime) -> Served:
    made = artefact(option, bench.source, bench.calibration)
    return option.open(made.path, bench.source, bench.setting)


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("option", [OnnxRuntime(), OpenVino()], ids=lambda option: option.spec)
def test_exported_models_give_eagers_answers_at_every_batch_size_and_length(
    benches: dict[str, RuntimeBench], kind: str, option: Runtime
) -> None:
    """Exported with two rows: neither rows nor tokens may have become constants."""
    bench = benches[kind]
    other = served(bench, option)
    for rows in (1, 2, 5):
        feed = bench.feed(rows, rows)
        assert gap(other.answer(feed), bench.eager.answer(feed), bench.source) < 1e-4
    if kind != "classifier":
        shorter = {name: np.ascontiguousarray(values[:, :5]) for name, values in bench.feed(3, 9).items()}
        assert gap(other.answer(shorter), bench.eager.answer(shorter), bench.source) < 1e-4


@pytest.mark.parametrize("numbers", ["F32", "F16", "Q8_0"])
def test_llama_cpp_gives_eagers_log_probabilities(benches: dict[str, RuntimeBench], numbers: str) -> None:
    bench = benches["language"]
    other = served(bench, catalog.find(Run(), f"llama_cpp:numbers={numbers}"))  # type: ignore[arg-type]
    feed = bench.feed(3, 1)
    found = other.answer(feed)
    assert np.exp(found).sum(1) == pytest.approx(1, abs=1e-4)
    assert gap(found, bench.eager.answer(feed), bench.source) < {"F32": 1e-4, "F16": 0.2, "Q8_0": 3.0}[numbers]


def test_an_onnx_file_is_held_against_the_standards_own_evaluator(
    benches: dict[str, RuntimeBench], tmp_path: Path, no_process: None
) -> None:
    bench = benches["classifier"]
    graph = OnnxRuntime().convert(bench.source, bench.calibration, tmp_path)
    task = RuntimeTask(model=graph, data=bench.task.data, **SMALL)
    again = RuntimeBench(task, 0)
    feed = bench.feed(3, 0)
    assert gap(again.eager.answer(feed), bench.eager.answer(feed), bench.source) < 1e-5
    for option in (OnnxRuntime(), OpenVino()):
        subject = again.prepare(option)
        assert subject.made.path == graph and subject.exact["parity"] < 1e-5


class Transposed(Runtime):
    """ONNX Runtime on a graph one square weight of which lies transposed. Source: none."""

    name = "transposed"

    def convert(self, source: Any, calibration: Calibration, folder: Path) -> Path:
        path = OnnxRuntime().convert(source, calibration, folder)
        model = onnx.load(path)
        wanted = next(one for one in model.graph.initializer if tuple(one.dims) == (64, 64))
        wanted.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(wanted).T.copy(), wanted.name))
        onnx.save(model, path)
        return path

    def open(self, path: Path, source: Any, setting: Setting) -> Served:
        return OnnxRuntime().open(path, source, setting)


@pytest.mark.parametrize("kind", [pytest.param("language", marks=pytest.mark.slow), "classifier"])
def test_a_graph_with_a_transposed_weight_fails_with_the_difference(
    benches: dict[str, RuntimeBench], kind: str, no_process: None
) -> None:
    with pytest.raises(
        WrongOutput, match=r"transposed differs from eager by .* more than the tolerance of .* on 6 rows"
    ):
        benches[kind].prepare(Transposed())


def test_a_race_fails_what_is_wrong_and_names_what_cannot_run(
    benches: dict[str, RuntimeBench], tmp_path: Path, no_process: None
) -> None:
    options = [Rounded(), Transposed(), "llama_cpp", "tensorrt", "onnx_runtime:provider=CUDAExecutionProvider"]
    found = decide(
        "serve/runtime", benches["classifier"].task, options=options, ledger=tmp_path / "l.db", records=None,
        engine=InlineEngine(),
    )  # fmt: skip
    assert found.chosen == "eager"
    told = {one.option: (one.outcome, one.why) for one in found.standings}
    assert told["rounded"][0] == told["transposed"][0] == "failed"
    assert "WrongOutput" in told["rounded"][1] and "more than the tolerance of 0.0001" in told["rounded"][1]
    assert "unfit: llama.cpp is asked for the scores of next tokens here" in told["llama_cpp"][1]
    assert "this ONNX Runtime has no CUDAExecutionProvider" in told["onnx_runtime:provider=CUDAExecutionProvider"][1]
    if catalog.find(Run(), "tensorrt").needs.missing():
        assert "needs an NVIDIA GPU" in told["tensorrt"][1]


def test_a_provider_that_falls_back_to_the_cpu_is_a_failure(
    benches: dict[str, RuntimeBench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself only warns: the session runs on the CPU."""
    import onnxruntime

    bench, option = benches["classifier"], OnnxRuntime(provider="CUDAExecutionProvider")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    made = artefact(option, bench.source, bench.calibration)
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(FellBack, match="told to run on CUDAExecutionProvider and runs on CPUExecutionProvider instead"),
    ):
        option.open(made.path, bench.source, bench.setting)


def test_openvino_left_to_itself_may_round_and_is_then_refused(
    benches: dict[str, RuntimeBench], no_process: None
) -> None:
    """On processors with bfloat16 it takes that by default; asked for it, it fails the tolerance."""
    if not {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("needs a processor with bfloat16 (avx512_bf16 or amx_bf16): others compute in float32 all the same")
    with pytest.raises(WrongOutput, match="openvino:precision=bf16 differs from eager"):
        benches["classifier"].prepare(OpenVino(precision="bf16"))


def test_agreement_is_by_class_by_cosine_or_within_the_tolerance(benches: dict[str, RuntimeBench]) -> None:
    source = benches["classifier"].source
    eager = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert agreement(np.array([[1.0, 1.5], [0.0, 9.0]]), eager, source, 0.1) == [1.0, 0.0]
    assert agreement(np.array([[np.nan, 1.0], [np.nan, np.nan]]), eager, source, 0.1) == [1.0, 1.0]
    assert agreement(np.array([[1.04], [2.0]]), np.array([[1.0], [1.0]]), source, 0.05) == [1.0, 0.0]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert agreement(vectors[::-1], vectors, benches["encoder"].source, 0.1) == [0.0, 0.0]


@pytest.mark.slow
def test_minilm_in_onnx_runtime_and_openvino_equals_eager(tmp_path: Path, no_process: None) -> None:
    from weigh.data import minilm, topics

    if not (minilm.installed() and topics.installed()):
        pytest.skip(f"needs the encoder and its texts: {minilm.INSTALL}; {topics.INSTALL}")
    with users_cache():
        task = RuntimeTask(model=minilm.path(), data=topics.path(), label="label", window=24, **SMALL)
    bench = RuntimeBench(task, 0)
    for option in (OnnxRuntime(), OpenVino()):
        assert bench.prepare(option).exact["parity"] < 1e-5


@pytest.mark.slow
def test_smollm2_in_llama_cpp_equals_eager(no_process: None) -> None:
    from weigh.data import manual, smollm2

    if not smollm2.installed():
        pytest.skip(f"needs SmolLM2: {smollm2.INSTALL}")
    with users_cache():
        task = RuntimeTask(model=smollm2.path(), data=manual.text(), batch_sizes=(1, 2), parity_rows=2)
    subject = RuntimeBench(task, 0).prepare(catalog.find(Run(), "llama_cpp"))  # type: ignore[arg-type]
    assert subject.exact["parity"] < 1e-3


def test_a_batch_that_the_model_does_not_take_is_refused(tmp_path: Path) -> None:
    import torch

    fields = conv_fields(tmp_path / "net")
    scope: dict[str, Any] = {}
    exec(Path(str(fields["architecture"]).rpartition(":")[0]).read_text(), scope)
    program = torch.export.export(scope["build"]().eval(), (torch.zeros(4, 1, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    task = RuntimeTask(model=tmp_path / "net.pt2", data=tmp_path / "net/rows.npz", **SMALL)
    with pytest.raises(UsageError, match="takes exactly 4 rows at a time, but batch=1; type batch=4"):
        RuntimeBench(task, 0)
    bench = RuntimeBench(task.model_copy(update={"batch": 4}), 0)
    assert bench.setting.rows == (4,)
    assert (
        gap(served(bench, OnnxRuntime()).answer(bench.feed(4, 0)), bench.eager.answer(bench.feed(4, 0)), bench.source)
        < 1e-4
    )
