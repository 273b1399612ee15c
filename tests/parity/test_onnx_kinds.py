"""Quantized ONNX files of plain nets: the hop is told from the graph, and renamed weights are found by their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from weigh import catalog
from weigh.model.source import open_source
from weigh.model.task import Calibration
from weigh.parity import Asked, Certificate, certify_chain, hop, told

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:# The axis name:UserWarning"
)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of three layers, as net.pt2 and as net.onnx."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)]
    module, example = torch.nn.Sequential(*layers).eval(), (torch.randn(8, 6),)
    shape = ({0: torch.export.Dim("rows", min=1, max=4096)},)
    torch.export.save(torch.export.export(module, example, dynamic_shapes=shape), folder / "net.pt2")
    torch.onnx.export(
        module, example, folder / "net.onnx", dynamo=True, dynamic_shapes=shape, external_data=False, verbose=False
    )
    return folder


def quantized(net: Path, folder: Path, spec: str) -> Path:
    source = open_source(net / "net.onnx")
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    option = catalog.find(catalog.choice("compress/quantize"), spec)
    return option.convert(source, Calibration({source.inputs[0].name: rows}), folder)  # type: ignore[attr-defined]


def certificate(before: Path, after: Path, *kinds: str) -> Certificate:
    return certify_chain([before, after], [hop(kind) for kind in kinds], Asked(prompts=4)).certificates[0]


@pytest.mark.parametrize(
    ("spec", "gap", "seen"),
    [
        ("int8_dynamic", 1.5, 6),
        ("int8_static", 1.5, 3),  # biases are kept as int32
        ("int8_per_channel", 1.5, 3),
        ("int8_weights", 0.25, 6),
        ("int4_weights", 1.5, 6),
        ("gptq", 1.5, 6),
        ("mixed", 1.5, 6),
        ("nf4", 1.5, 6),
    ],
)
def test_a_quantization_is_told_from_the_graph(net: Path, tmp_path: Path, spec: str, gap: float, seen: int):
    made = quantized(net, tmp_path, spec)
    one = certificate(net / "net.onnx", made)
    assert (one.hop.kind, one.hop.guessed) == ("quantize", True)
    assert one.ok, one.findings
    assert one.tolerance.gap == gap
    assert one.weights and (one.weights.tensors, one.weights.tensors + one.weights.unseen) == (seen, 6)
    assert one.weights.within == 3
    again = certificate(made, made)
    assert again.hop.kind == "copy" and again.ok, again.findings
    export = certificate(net / "net.pt2", made)
    assert export.hop.kind == "quantize" and export.ok, export.findings


def test_a_cast_and_an_export_are_still_told(net: Path, tmp_path: Path):
    assert certificate(net / "net.onnx", net / "net.onnx").hop.kind == "copy"
    cast = certificate(net / "net.onnx", quantized(net, tmp_path, "bfloat16"))
    assert cast.hop.kind == "cast" and cast.ok, cast.findings
    assert cast.weights and (cast.weights.within, cast.weights.unseen) == (3, 0)
    export = certificate(net / "net.pt2", net / "net.onnx")
    assert export.hop.kind == "export" and export.ok
    assert export.weights and (export.weights.identical, export.weights.unseen) == (6, 0)
    assert "float32 rounding" in export.rule and export.tolerance.gap == 1e-4


@pytest.mark.parametrize("kind", ["export", "runtime"])
def test_the_rule_of_an_export_into_quantized_numbers_says_so(net: Path, tmp_path: Path, kind: str):
    one = certificate(net / "net.pt2", quantized(net, tmp_path, "int8_weights"), kind)
    assert one.ok and one.tolerance.gap == 0.25 and not one.tolerance.greedy
    assert "numbers of 8 bits" in one.rule and "float32 rounding" not in one.rule
    text = dict(told.sections(certify_chain([one.before, one.after], [one.hop], Asked(prompts=4)))[0][1])
    assert text["weights"] == "3 of 6 tensors were found in model.onnx; of these 3 are identical"


def test_a_damaged_packed_product_is_found(net: Path, tmp_path: Path):
    made = quantized(net, tmp_path, "int4_weights")
    model = onnx.load(made)
    held = next(one for one in model.graph.initializer if one.name == "node_linear_1_weight_scales")
    held.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(held) * 2, held.name))
    onnx.save(model, tmp_path / "broken.onnx")
    one = certificate(net / "net.onnx", tmp_path / "broken.onnx")
    assert [finding.where for finding in one.findings if finding.topic == "weights"] == ["2.weight"]
    assert "it is 2 times what it should be" in one.findings[0].what
