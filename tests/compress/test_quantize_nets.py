"""Nets for torch and ONNX graphs in fewer bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from weigh import catalog
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.compress.quantize._few_bits import products
from weigh.compress.quantize._toy import net
from weigh.model.source import Port, open_source

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 8, 3)
        self.wide = torch.nn.Linear(800, 64)
        self.head = torch.nn.Linear(64, 4)

    def forward(self, x):
        return self.head(torch.relu(self.wide(torch.relu(self.conv(x)).flatten(1))))

def build():
    return Net()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Any]:
    """A convolutional net as weights and the code that builds it."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.py").write_text(NET)
    scope: dict[str, Any] = {}
    exec(NET, scope)
    torch.manual_seed(0)
    module = scope["build"]().eval()
    save_file(module.state_dict(), folder / "net.safetensors")
    return folder / "net.safetensors", f"{folder / 'net.py'}:build", module


@pytest.mark.parametrize("spec, share", [("int8_static", 0.3), ("float16", 0.62)])
def test_a_net_for_torch_is_quantized(
    choice: Quantize, weights: tuple[Path, str, Any], tmp_path: Path, spec: str, share: float
) -> None:
    path, code, module = weights
    rows = np.random.default_rng(0).normal(size=(64, 1, 12, 12)).astype(np.float32)
    option = catalog.find(choice, spec)
    source = dataclasses.replace(open_source(path, code), inputs=(Port("X", "tensor(float)", (None, 1, 12, 12)),))
    made = option.convert(source, Calibration({"X": rows[:32].copy()}), tmp_path)  # type: ignore[attr-defined]
    assert [file.name for file in tmp_path.iterdir()] == [made.name]
    assert made.stat().st_size < share * path.stat().st_size + 20_000  # an archive has an overhead of its own
    if made.suffix == ".onnx":
        said = onnxruntime.InferenceSession(made).run(None, {"X": rows[32:]})[0]
    else:
        said = torch.export.load(made).module()(torch.from_numpy(rows[32:]).half()).float().numpy()
    right = module(torch.from_numpy(rows[32:])).detach().numpy()
    assert (said.argmax(1) == right.argmax(1)).mean() > 0.9


def test_an_archive_that_would_be_trained_on_is_cast_without_a_warning(choice: Quantize, tmp_path: Path) -> None:
    """Its parameters require gradients, unless whoever exported it took care that they do not; rows are not free."""
    program = torch.export.export(torch.nn.Linear(8, 4).eval(), (torch.zeros(2, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    assert all(weight.requires_grad for weight in program.parameters())
    source = open_source(tmp_path / "net.pt2")
    (tmp_path / "made").mkdir()
    calibration = Calibration({"X": np.zeros((2, 8), np.float32)})
    made = catalog.find(choice, "bfloat16").convert(source, calibration, tmp_path / "made")  # type: ignore[attr-defined]
    assert next(torch.export.load(made).module().parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "spec, least, kinds",
    [
        ("int8_weights", 0.98, {"MatMulNBits"}),
        ("int4_weights", 0.85, {"MatMulNBits"}),
        ("gptq", 0.85, {"MatMulNBits"}),
        ("mixed", 0.85, {"MatMulNBits"}),
        ("nf4", 0.85, {"MatMulBnb4"}),
        ("bfloat16", 0.97, {"Gemm"}),
    ],
)
def test_a_graph_reads_few_bits(
    plain: QuantizeTask, convert: Callable[..., onnx.ModelProto], spec: str, least: float, kinds: set[str]
) -> None:
    rows = np.load(plain.data)["X"]
    made = convert(spec, plain.model, X=rows[:200])
    assert {node.op_type for node in made.graph.node} & {"Gemm", "MatMul", "MatMulNBits", "MatMulBnb4"} == kinds
    assert len(made.SerializeToString()) < 0.65 * plain.model.stat().st_size
    before = onnxruntime.InferenceSession(plain.model).run(None, {"X": rows})[0].argmax(1)
    after = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"X": rows})[0].argmax(1)
    assert (before == after).mean() > least


def test_hessians_make_a_graph_lose_less(plain: QuantizeTask, convert: Callable[..., onnx.ModelProto]) -> None:
    rows = np.load(plain.data)["X"]
    mixing = np.random.default_rng(0).normal(size=(24, 24)).astype(np.float32) / 5
    before = onnxruntime.InferenceSession(plain.model).run(None, {"X": rows @ mixing})[0]
    lost = {}
    for spec in ("gptq", "int4_weights"):
        made = convert(spec, plain.model, X=rows[:500] @ mixing)
        after = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"X": rows @ mixing})[0]
        lost[spec] = float(((after - before)[500:] ** 2).mean())
    assert lost["gptq"] < 0.8 * lost["int4_weights"]


def test_the_product_that_suffers_most_stays_in_8_bits(
    convert: Callable[..., onnx.ModelProto], layers: list[Any], tmp_path: Path
) -> None:
    """All products but one hold weights that 4 bits can say."""
    from weigh.compress.quantize._packing import nearest
    from weigh.model.packed import Scheme

    weights = [(torch.from_numpy(one.copy()), bias) for one, bias in layers]
    said = [(nearest(torch.nn.functional.pad(one.T, (0, -len(one) % 32)), Scheme(4, 32, False)), one, bias)
            for one, bias in weights]  # fmt: skip
    changed = [(kept.weight[:, : len(one)].T.numpy().copy(), bias) for kept, one, bias in said]
    changed[1] = layers[1]
    onnx.save(net(changed), tmp_path / "few.onnx")
    made = convert("mixed", tmp_path / "few.onnx", X=np.random.default_rng(0).normal(size=(50, 24)).astype(np.float32))
    told = [{one.name: one.i for one in node.attribute} for node in made.graph.node if node.op_type == "MatMulNBits"]
    assert [one["bits"] for one in told] == [4, 8, 4]


@pytest.mark.parametrize("turned", [0, 1])
def test_a_gemm_is_a_product_and_a_sum(turned: int) -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(6, 4)).astype(np.float32), random.normal(size=4).astype(np.float32)
    tensors = [numpy_helper.from_array(weight.T.copy() if turned else weight, "w"), numpy_helper.from_array(bias, "b")]
    nodes = [
        helper.make_node("Gemm", ["X", "w", "b"], ["h"], transB=turned),
        helper.make_node("Gemm", ["h", "k"], ["scores"], alpha=0.5),
    ]
    tensors.append(numpy_helper.from_array(random.normal(size=(4, 3)).astype(np.float32), "k"))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n]) for name, n in (("X", 6), ("scores", 3))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = random.normal(size=(5, 6)).astype(np.float32)
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": x})[0]
    after = products(model)
    assert [node.op_type for node in after.graph.node] == ["MatMul", "Add", "Gemm"]
    said = onnxruntime.InferenceSession(after.SerializeToString()).run(None, {"X": x})[0]
    assert np.allclose(said, before, atol=1e-5)
