"""What quantization costs real models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weigh import catalog
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.data import digits, manual, minilm, smollm2, topics
from weigh.model import rows_bench
from weigh.model.module import load_module, load_tokenizer
from weigh.model.source import open_source
from weigh.model.text import prompts

pytestmark = pytest.mark.slow
needs_minilm = pytest.mark.skipif(
    not (minilm.installed() and topics.installed()), reason="the packages of MiniLM and its texts are not installed"
)
needs_smollm2 = pytest.mark.skipif(not smollm2.installed(), reason="the package of SmolLM2 is not installed")
needs_digits = pytest.mark.skipif(not digits.installed(), reason="the package of the digits is not installed")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Callable[[QuantizeTask, str, int], tuple[np.ndarray, float]]:
    """On each of some rows that judge, whether the original alone is right; and the share of its size that is left.

    Memory, which takes a process an artefact, is not what is asked here.
    """
    monkeypatch.setattr(rows_bench, "peak_mb", lambda *_: 1.0)

    def measured(task: QuantizeTask, option: str, rows: int) -> tuple[np.ndarray, float]:
        bench, right, sizes = rows_bench.RowsBench(task, 0), [], []
        feed, truth = bench.rows.take(np.arange(rows)), bench.truth[:rows]
        for spec in ("none", option):
            subject = bench.prepare(catalog.find(catalog.choice("compress/quantize"), spec))  # type: ignore[arg-type]
            answers = bench.reader.answers(bench.session(subject).answer(feed))
            right.append(bench.reader.match(answers, truth).astype(float))
            sizes.append(subject.made.megabytes)
        return right[0] - right[1], sizes[1] / sizes[0]

    return measured


@needs_minilm
@pytest.mark.parametrize("option", ["int8_weights"])
def test_an_encoder_keeps_its_accuracy_in_a_quarter_of_the_size(kept: Any, quick_products: None, option: str) -> None:
    task = QuantizeTask(model=minilm.path(), data=topics.path(), label="label", window=24, batch=32,
                        calibration_rows=200)  # fmt: skip
    lost, size = kept(task, option, 942)
    assert lost.mean() < 0.01
    assert size == pytest.approx(0.25, abs=0.01)


@needs_digits
def test_the_net_for_digits_keeps_its_accuracy_in_a_third_of_the_size(kept: Any) -> None:
    model, code = digits.net()
    task = QuantizeTask(model=model, architecture=code, data=digits.rows("test"), batch=64, calibration_rows=100)
    lost, size = kept(task, "int8_static", 1900)
    assert lost.mean() < 0.01
    assert size < 0.35


def said(module: Any, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of every token after the first quarter of each window, and the tokens that stand there."""
    skip = ids.shape[1] // 4
    with torch.inference_mode():
        scores = module(input_ids=torch.from_numpy(ids.copy()), use_cache=False).logits[:, skip - 1 : -1]
        return scores.float().log_softmax(-1), torch.from_numpy(ids[:, skip:].copy()).unsqueeze(-1)


@needs_smollm2
def test_smollm2_loses_little_by_int8_weights_and_half_of_its_tokens_by_a_scale_a_batch(
    choice: Quantize, tmp_path: Path, quick_products: None
) -> None:
    """Weights alone cost under 1 % of perplexity; activations with a scale a batch, head too, half of the tokens."""
    source = open_source(smollm2.path())
    ids = prompts(manual.text(), load_tokenizer(source), 64, 24, seed=1)

    def made(spec: str, rows: int) -> torch.Tensor:
        folder = tmp_path / spec[:8]
        folder.mkdir()
        path = catalog.find(choice, spec).convert(source, Calibration({"input_ids": ids}), folder)  # type: ignore[attr-defined]
        return said(load_module(open_source(path)), ids[:rows])[0]

    base, right = said(load_module(source), ids)
    weights = made("int8_weights", 24)
    assert (base - weights).gather(2, right).mean() < np.log(1.01)
    assert 0 < (base.exp() * (base - weights)).sum(-1).mean() < np.log(1.01), "of text that the model writes itself"
    batch = made("int8_dynamic:steps=batch,head=true", 24)
    assert 0.4 < (batch.argmax(-1) == base.argmax(-1)).float().mean() < 0.6
    assert (base - batch).gather(2, right).mean() > 0.3
