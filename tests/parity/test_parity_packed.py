"""Folders that weigh packed are compared weight by weight, the embedding included."""

from __future__ import annotations

from pathlib import Path

import pytest

from weigh import catalog
from weigh.model.source import open_source
from weigh.model.task import Calibration
from weigh.model.toy import random_llama, save_llama
from weigh.parity import certify_chain, hop


@pytest.mark.parametrize(("spec", "bits"), [("int8_weights", 8), ("int4_weights", 4)])
def test_packed_weights_keep_the_rule_of_their_bits(tmp_path: Path, spec: str, bits: int):
    import numpy as np

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
