"""What quantization costs real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh import catalog, decide
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.data import digits, manual, minilm, smollm2, topics
from weigh.engine.inline import InlineEngine
from weigh.model import language
from weigh.model.module import load_module, load_tokenizer
from weigh.model.source import open_source
from weigh.model.text import prompts

pytestmark = pytest.mark.slow
needs_minilm = pytest.mark.skipif(
    not (minilm.installed() and topics.installed()), reason="the packages of MiniLM and its texts are not installed"
)
needs_smollm2 = pytest.mark.skipif(not smollm2.installed(), reason="the package of SmolLM2 is not installed")
needs_digits = pytest.mark.skipif(not digits.installed(), reason="the package of the digits is not installed")


def decided(task: QuantizeTask, option: str, folder: Path) -> Any:
    """Whether an option keeps accuracy within a point of the original."""
    return decide("compress/quantize", task, ledger=folder / "ledger.db", records=None, engine=InlineEngine(),
                  options=[option], objective="size", require=["accuracy >= baseline - 0.01"])  # fmt: skip


@needs_minilm
@pytest.mark.parametrize("option", ["int8_weights"])
def test_an_encoder_keeps_its_accuracy_in_a_quarter_of_the_size(tmp_path: Path, option: str) -> None:
    task = QuantizeTask(model=minilm.path(), data=topics.path(), label="label", window=24, rounds=60, runs=1, warmup=0,
                        calibration_rows=200, finite=True, held_back=0.1)  # fmt: skip
    decision = decided(task, option, tmp_path)
    sizes = {one.option: one.measured["size"].estimate for one in decision.standings}
    assert decision.chosen == option
    assert sizes[option] / sizes["none"] == pytest.approx(0.25, abs=0.01)


@needs_digits
def test_the_net_for_digits_keeps_its_accuracy_in_a_third_of_the_size(tmp_path: Path) -> None:
    model, code = digits.net()
    task = QuantizeTask(model=model, architecture=code, data=digits.rows("test"), rounds=40, runs=1, warmup=0,
                        calibration_rows=100, finite=True, held_back=0.1)  # fmt: skip
    decision = decided(task, "int8_static", tmp_path)
    sizes = {one.option: one.measured["size"].estimate for one in decision.standings}
    assert decision.chosen == "int8_static"
    assert sizes["int8_static"] < 0.35 * sizes["none"]


@needs_smollm2
def test_smollm2_loses_little_by_int8_weights_and_half_of_its_tokens_by_a_scale_a_batch(
    choice: Quantize, tmp_path: Path
) -> None:
    """Weights alone cost under 1 % of perplexity; activations with a scale a batch, head too, half of the tokens."""
    source = open_source(smollm2.path())
    ids = prompts(manual.text(), load_tokenizer(source), 64, 24, seed=1)
    base, made = language.read(load_module(source), ids), {}
    for spec in ("int8_weights", "int8_dynamic:steps=batch,head=true"):
        folder = tmp_path / spec[:8]
        folder.mkdir()
        path = catalog.find(choice, spec).convert(source, Calibration({"input_ids": ids}), folder)  # type: ignore[attr-defined]
        made[spec] = language.read(load_module(open_source(path)), ids)
    weights, batch = made.values()
    assert np.exp((base.loglik - weights.loglik).mean()) < 1.01
    assert 0.4 < (batch.best == base.best).mean() < 0.6
    assert (base.loglik - batch.loglik).mean() > 0.3
