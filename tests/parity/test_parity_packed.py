"""Folders that weigh packed are compared weight by weight, the embedding included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_llama import encoder

from weigh import catalog
from weigh.model.source import open_source
from weigh.model.task import Calibration
from weigh.model.toy import random_llama, save_llama
from weigh.parity import Asked, certify_chain, hop


@pytest.mark.parametrize(("spec", "bits"), [("int8_weights", 8), ("int4_weights", 4)])
def test_packed_weights_keep_the_rule_of_their_bits(tmp_path: Path, spec: str, bits: int):
    model = save_llama(random_llama(0, layers=2), tmp_path / "model")
    option = catalog.find(catalog.choice("compress/quantize"), spec)
    (tmp_path / "packed").mkdir()
    rows = Calibration({"input_ids": np.ones((1, 8), np.int64)})
    made = option.convert(open_source(model), rows, tmp_path / "packed")  # type: ignore[attr-defined]
    chain = certify_chain([model, made], [hop("quantize")])
    assert chain.ok, chain.certificates[0].findings
    weights = chain.certificates[0].weights
    assert weights is not None and (weights.tensors, weights.outside) == (21, 0)
    assert chain.certificates[0].tolerance.gap == {8: 0.25, 4: 1.5}[bits]


@pytest.mark.parametrize("spec", ["int8_dynamic", "int8_static", "int8_weights", "int4_weights", "bfloat16"])
def test_what_was_made_of_an_encoder_keeps_its_rule(base: Path, tmp_path: Path, spec: str):
    model, made = encoder(base, tmp_path / "model"), converted(tmp_path, spec)
    one = certify_chain([model, made], (), Asked(prompts=2)).certificates[0]
    assert one.hop.kind == ("cast" if spec == "bfloat16" else "quantize")
    assert one.ok, one.findings
    assert one.weights and (one.weights.tensors, one.weights.outside, one.weights.unseen) == (39, 0, 0)
    assert one.weights.worst_tensor and one.weights.worst < (0.25 if spec == "int4_weights" else 0.02)


def converted(folder: Path, spec: str) -> Path:
    option = catalog.find(catalog.choice("compress/quantize"), spec)
    (folder / "made").mkdir()
    ids = np.random.default_rng(0).integers(3, 300, (8, 12))
    rows = Calibration({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return option.convert(open_source(folder / "model"), rows, folder / "made")  # type: ignore[attr-defined]


def test_a_damaged_packed_weight_and_a_damaged_vector_are_found(base: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    model, made = encoder(base, tmp_path / "model"), converted(tmp_path, "int8_dynamic")
    tensors = load_file(made / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight_scale"] *= 2
    tensors["encoder.layer.0.output.LayerNorm.bias"][0] += 1
    save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
    one = certify_chain([model, made], (), Asked(prompts=2)).certificates[0]
    weights = [finding.where for finding in one.findings if finding.topic == "weights"]
    assert weights == ["encoder.layer.0.output.LayerNorm.bias", "encoder.layer.1.output.dense.weight"]


def test_vectors_of_a_llama_in_bfloat16_are_a_cast_beside_packed_matrices(tmp_path: Path):
    net = random_llama(0, layers=2)
    for name, value in net.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(value, 1.0, 0.1)
    save_llama(net, tmp_path / "model")
    chain = certify_chain([tmp_path / "model", converted(tmp_path, "int8_weights")], (), Asked(prompts=2))
    assert chain.ok, chain.certificates[0].findings
