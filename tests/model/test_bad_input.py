"""What cannot be judged is refused in one line that says what to type, whatever the format."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from weigh.choice import UsageError
from weigh.model.rows_bench import RowsBench
from weigh.model.source import open_source
from weigh.model.task import ModelTask
from weigh.model.text_bench import TextBench
from weigh.model.toy import write_language_toy
from weigh.parity.stage import Stage


def graph(path: Path, weight: np.ndarray, kind: str = "MatMul", domain: str = "") -> Path:
    """A file of one operator: rows of 4 numbers to 3 scores."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("X", 4), ("Y", 3)))
    node = helper.make_node(kind, ["X", "W"], ["Y"], domain=domain)
    held = numpy_helper.from_array(weight.astype(np.float32), "W")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y], [held]), opset_imports=imports), path)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., ModelTask]:
    def make(**arrays: np.ndarray) -> ModelTask:
        weight = np.random.default_rng(0).normal(size=(4, 3))
        x = np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32)
        given = {"X": x, "y": (x @ weight).argmax(1)} | arrays
        np.savez(tmp_path / "rows.npz", **{name: array for name, array in given.items() if len(array.shape)})
        return ModelTask(model=graph(tmp_path / "net.onnx", weight), data=tmp_path / "rows.npz")

    return make


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_in_a_graph_or_an_archive(tmp_path: Path, value: float):
    weight = np.ones((4, 3), np.float32)
    weight[1, 2] = value
    said = "holds 1 values that are NaN or infinite of 12; take an earlier checkpoint"
    assert f"'W' {said}" in refused(lambda: open_source(graph(tmp_path / "net.onnx", weight)))
    net = torch.nn.Linear(4, 3).eval()
    net.weight.data = torch.from_numpy(weight.T.copy())
    torch.export.save(torch.export.export(net, (torch.zeros(2, 4),)), tmp_path / "net.pt2")
    assert f"'weight' {said}" in refused(lambda: open_source(tmp_path / "net.pt2"))


@pytest.mark.parametrize("given", ["value", "value_floats"])
def test_constants_of_a_graph_that_are_no_numbers(tmp_path: Path, given: str):
    def made(values: list[float]) -> Path:
        held = numpy_helper.from_array(np.array(values, np.float32)) if given == "value" else values
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "XY")
        nodes = [helper.make_node("Constant", [], ["C"], **{given: held}), helper.make_node("Add", ["X", "C"], ["Y"])]
        imports = [helper.make_opsetid("", 17)]
        onnx.save(
            helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=imports), tmp_path / "a.onnx"
        )
        return tmp_path / "a.onnx"

    open_source(made([0.0, -np.inf, 1.0, 2.0]))  # a mask
    said = refused(lambda: open_source(made([0.0, np.nan, 1.0, 2.0])))
    assert "holds 1 values that are NaN or infinite of 4" in said


@pytest.mark.parametrize("half", [False, True])
def test_weights_that_are_no_numbers_in_a_gguf_file(tmp_path: Path, half: bool):
    import gguf

    values = np.zeros((16, 32), np.float32)
    values[3, 5] = np.nan
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    kind = gguf.GGMLQuantizationType.BF16
    stored = ((values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)) if half else values
    writer.add_tensor("token_embd.weight", stored, raw_dtype=kind if half else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    said = "'token_embd.weight' holds 1 values that are NaN or infinite of 512"
    assert said in refused(lambda: open_source(tmp_path / "model.gguf"))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), "fields and 0 tensors cannot lie in the 0 bytes"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0), "0 fields and 1,152,921,504,606,846,976 tensors cannot lie"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**40), "a text of 1,099,511,627,776 bytes cannot lie in"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 8, 2**33), "an array of 8,589,934,592 values"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 9, 2**33), "an array of 8,589,934,592 values"),
        (struct.pack(">4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 4, 2**33), "an array of 8,589,934,592 values"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"a", 77), "a field is of the unknown type 77"),
    ],
)  # fmt: skip
def test_a_gguf_header_that_claims_more_than_the_file_holds(tmp_path: Path, header: bytes, said: str):
    (tmp_path / "model.gguf").write_bytes(header + b"\0" * ("text" in said) * 20)
    assert said in refused(lambda: open_source(tmp_path / "model.gguf"))
    assert said in refused(lambda: Stage(tmp_path / "model.gguf"))


def test_an_operator_that_nobody_knows(tmp_path: Path):
    file = graph(tmp_path / "net.onnx", np.ones((4, 3)), "Quux", "com.acme")
    said = refused(lambda: open_source(file))
    assert "uses the operator com.acme:Quux, which ONNX Runtime" in said and "export the model without it" in said


def test_a_file_of_torch_is_told_what_to_write_instead(tmp_path: Path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "net.pt")
    said = refused(lambda: open_source(tmp_path / "net.pt"))
    assert "'net.pt2'" in said and "'net.safetensors'" in said and "architecture=net.py:build" in said


def test_code_without_the_name_of_its_function(tmp_path: Path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "net.safetensors")
    code = tmp_path / "net.py"
    code.write_text("def build(): ...")
    said = refused(lambda: open_source(tmp_path / "net.safetensors", architecture=str(code)))
    assert f"names a file alone; say which function in it builds the net: architecture={code}:build" in said
    said = refused(lambda: open_source(tmp_path / "net.safetensors", architecture="lost.py:build"))
    assert "there is no file lost.py; you are in" in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("net.txt", "def build(): ...", "net.txt is no file of Python code; type it as net.py:build"),
        ("net.py", "import sys\ndef build(): sys.exit(0)", "cannot be run: SystemExit: 0"),
        ("net.py", "raise SystemExit", "cannot be run: SystemExit"),
        ("net.py", "def build(: ...", "cannot be run: SyntaxError"),
    ],
)
def test_code_that_builds_nothing(tmp_path: Path, name: str, text: str, said: str):
    save_file({"weight": torch.zeros(3)}, tmp_path / "net.safetensors")
    (tmp_path / name).write_text(text)
    assert said in refused(lambda: open_source(tmp_path / "net.safetensors", architecture=f"{tmp_path / name}:build"))


def test_rows_that_are_wider_than_the_net_takes(tmp_path: Path):
    save_file({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, tmp_path / "net.safetensors")
    (tmp_path / "net.py").write_text("import torch\ndef build(): return torch.nn.Linear(4, 3)")
    wide = np.random.default_rng(0).normal(size=(400, 30))
    np.savez(tmp_path / "rows.npz", X=wide.astype(np.float32), y=np.arange(400) % 3)
    code = f"{tmp_path / 'net.py'}:build"
    task = ModelTask(model=tmp_path / "net.safetensors", data=tmp_path / "rows.npz", architecture=code)
    said = refused(lambda: RowsBench(task, seed=0))
    assert "does not take rows of 30 numbers, as" in said and "(RuntimeError: mat1 and mat2" in said
    assert "output=" not in said


def test_a_label_that_is_no_column_of_a_wide_table(tmp_path: Path):
    import polars as pl

    random = np.random.default_rng(0)
    columns = {f"f{place}": random.normal(size=60) for place in range(64)} | {"y": random.integers(0, 3, 60)}
    pl.DataFrame(columns).write_csv(tmp_path / "rows.csv")
    file = graph(tmp_path / "net.onnx", np.ones((4, 3)))
    task = ModelTask(model=file, data=tmp_path / "rows.csv", label="target")
    said = refused(lambda: RowsBench(task, seed=0))
    assert "has no column 'target'; right answers are what a model is judged by: name theirs with label=" in said
    assert "(its 65 columns: f0, f1, f2, f3, f4, f5, ..., f59, f60, f61, f62, f63, y)" in said


def test_rows_without_labels_and_without_rows(rows: Callable[..., ModelTask], tmp_path: Path):
    none = np.float32(0)  # an array of no dimension is left out
    assert "no array 'y' in" in refused(lambda: RowsBench(rows(y=none), seed=0))
    assert "name theirs with label=" in refused(lambda: RowsBench(rows(y=none), seed=0))
    empty = rows(X=np.zeros((0, 4), np.float32), y=np.zeros(0, np.int64))
    assert "has 0 rows; " in refused(lambda: RowsBench(empty, seed=0))


def test_an_empty_calibration_set(rows: Callable[..., ModelTask], tmp_path: Path):
    np.savez(tmp_path / "none.npz", X=np.zeros((0, 4), np.float32))
    task = rows().model_copy(update={"calibration": tmp_path / "none.npz"})
    assert "none.npz leaves no rows to calibrate on: it has none; give some" in refused(lambda: RowsBench(task, seed=0))
    toy = write_language_toy(tmp_path / "toy", layers=1)
    (tmp_path / "empty.txt").write_text("")
    text = toy.model_copy(update={"calibration": tmp_path / "empty.txt"})
    assert "empty.txt is empty; give a text" in refused(lambda: TextBench(text, seed=0))


def test_a_measure_that_the_task_has_not(rows: Callable[..., ModelTask], tmp_path: Path):
    from weigh import decide

    asked = {"ledger": tmp_path / "ledger.db", "records": None, "options": ["none"]}
    said = refused(lambda: decide("compress/quantize", rows(), require=["drop <= 0.02"], **asked))
    assert "drop is not measured on a task like this one; type one of latency, p95, accuracy" in said
    said = refused(lambda: decide("compress/quantize", rows(), objective="tokens_per_second", **asked))
    assert "tokens_per_second is not measured" in said


def test_a_draft_with_another_tokenizer_is_unfit(tmp_path: Path):
    from weigh.choice import Unfit
    from weigh.model.module import load_module
    from weigh.serve.decoding import Served
    from weigh.serve.decoding.speculative import Draft

    toy = write_language_toy(tmp_path / "toy", layers=1)
    other = write_language_toy(tmp_path / "other", layers=1)
    file = other.model / "tokenizer.json"
    file.write_text(file.read_text().replace('"w7"', '"v7"'))
    source = open_source(toy.model)
    served = Served(source, load_module(source), 32, lambda: np.zeros((4, 8), np.int64))
    with pytest.raises(Unfit, match=r"tokenizer of the draft .* is not the model's.*give a draft of the same"):
        Draft(draft=str(other.model)).open(served)
