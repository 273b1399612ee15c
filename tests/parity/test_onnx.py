"""A language model exported to ONNX: weights by name, layers, int8, and ranges that calibration froze."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.parity import build
from weigh.parity import Asked, certify_chain, hop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:# The axis name:UserWarning"
    ),
]
ASKED = Asked(prompts=4, new_tokens=4)


@pytest.fixture(scope="module")
def graph(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.onnx(base, tmp_path_factory.mktemp("onnx") / "whole")


def test_a_right_export_is_the_same_in_weights_and_answers(base: Path, graph: Path):
    one = certify_chain([base, graph], [hop("export")], ASKED).certificates[0]
    assert one.ok, one.findings
    assert one.weights and one.weights.identical == one.weights.tensors > 20 and one.weights.unseen == 0
    assert one.behaviour and one.behaviour.gap_max < 1e-4


def test_a_wrong_export_is_put_into_its_layer(base: Path, tmp_path: Path):
    def change(module: Any) -> None:
        module.model.layers[1].mlp.act_fn = torch.nn.GELU()

    one = certify_chain([base, build.onnx(base, tmp_path / "wrong", change)], [hop("export")], ASKED).certificates[0]
    assert not one.ok and one.layer == 1
    assert one.weights and one.weights.outside == 0


def test_int8_is_right_and_stale_ranges_are_found(base: Path, graph: Path, tmp_path: Path):
    kinds = [hop("export"), hop("quantize:bits=8")]
    dynamic = certify_chain([base, graph, build.onnx_dynamic(graph, tmp_path / "dynamic")], kinds, ASKED)
    assert dynamic.ok, dynamic.certificates[-1].findings
    assert dynamic.certificates[1].weights and dynamic.certificates[1].weights.within > 10
    good = build.onnx_static(graph, tmp_path / "good", torch.arange(40, 300).reshape(4, 65))
    assert "activations" not in _topics(certify_chain([base, graph, good], kinds, ASKED))
    stale = build.onnx_static(graph, tmp_path / "stale", torch.full((2, 12), 28))
    found = certify_chain([base, graph, stale], kinds, ASKED)
    assert found.blamed == 2 and "activations" in _topics(found)


def _topics(chain: Any) -> set[str]:
    return {finding.topic for finding in chain.certificates[-1].findings}
