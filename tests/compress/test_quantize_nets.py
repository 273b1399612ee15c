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
from weigh.choice import Unfit
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.compress.quantize._few_bits import products
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
    net = scope["build"]().eval()
    save_file(net.state_dict(), folder / "net.safetensors")
    return folder / "net.safetensors", f"{folder / 'net.py'}:build", net


@pytest.mark.parametrize("spec, share", [("int8_static", 0.3), ("float16", 0.62)])
def test_a_net_for_torch_is_quantized(
    choice: Quantize, weights: tuple[Path, str, Any], tmp_path: Path, spec: str, share: float
) -> None:
    path, code, net = weights
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
    right = net(torch.from_numpy(rows[32:])).detach().numpy()
    assert (said.argmax(1) == right.argmax(1)).mean() > 0.9


@pytest.mark.parametrize("spec", ["gptq", "mixed", "nf4"])
def test_what_goes_through_blocks_serves_no_other_net(
    choice: Quantize, weights: tuple[Path, str, Any], tmp_path: Path, spec: str
) -> None:
    source = open_source(weights[0], weights[1])
    with pytest.raises(Unfit, match=f"{spec} rounds the weights of a Hugging Face folder, and this model is module"):
        catalog.find(choice, spec).convert(source, Calibration({}), tmp_path)  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec, least", [("int8_weights", 0.98), ("int4_weights", 0.85)])
def test_products_of_a_graph_read_few_bits(
    plain: QuantizeTask, convert: Callable[..., onnx.ModelProto], spec: str, least: float
) -> None:
    rows = np.load(plain.data)["X"]
    made = convert(spec, plain.model, X=rows[:10])
    assert {"MatMulNBits"} <= {node.op_type for node in made.graph.node}
    assert not {"Gemm", "MatMul"} & {node.op_type for node in made.graph.node}
    before = onnxruntime.InferenceSession(plain.model).run(None, {"X": rows})[0].argmax(1)
    after = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"X": rows})[0].argmax(1)
    assert (before == after).mean() > least


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


def test_bfloat16_has_no_kernels_in_onnx_runtime(plain: QuantizeTask, convert: Callable[..., Any]) -> None:
    with pytest.raises(Unfit, match="take float16"):
        convert("bfloat16", plain.model)
