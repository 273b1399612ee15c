"""Figures of behaviour against closed forms in numpy, and greedy tokens against free-running decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from weigh.parity import behave, probe, rows


def test_gap_and_kl_are_closed_forms():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 9, 7)).astype(np.float32)
    table = probe.padded([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], [2, 3])
    p, q = (torch.log_softmax(torch.tensor(logits[: 2 * 5 - 1 + 1]), -1) for logits in (one, other))
    p, q = torch.cat([p, p[:1]]), torch.cat([q, q[:1]])
    found = behave.compared(p, q, table)
    a, b = p.double().numpy(), q.double().numpy()
    right = [2, 3, 4, 5, 6, 5, 4, 3, 2, 1]
    gap = np.abs(a[np.arange(10), right] - b[np.arange(10), right])
    kl = (np.exp(a) * (a - b)).sum(1)
    assert found.gap_mean == pytest.approx(gap.mean(), abs=1e-6)
    assert found.gap_p99 == pytest.approx(np.quantile(gap, 0.99), abs=1e-6)
    assert found.gap_max == pytest.approx(gap.max(), abs=1e-6)
    assert (found.kl_mean, found.kl_max) == pytest.approx((kl.mean(), kl.max()), abs=1e-6)
    assert found.agreement == np.mean(a.argmax(1) == b.argmax(1))
    assert found.agreement_low <= found.agreement <= found.agreement_high


def test_kl_of_two_coins():
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    truth = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert float(behave.kullback_leibler(p, q)[0]) == pytest.approx(truth, abs=1e-7)


def _scores(best: list[int]) -> torch.Tensor:
    scores = torch.zeros(len(best), 8)
    scores[range(len(best)), best] = 5.0
    return torch.log_softmax(scores, 1)


def test_greedy_tokens_are_compared_as_far_as_the_first_that_parts():
    table = probe.padded([[0, 1, 2, 3, 4]], [2])
    same = behave.compared(_scores([1, 2, 3, 4]), _scores([7, 2, 3, 4]), table)
    assert (same.identical, same.greedy_tokens, same.divergence) == (1, 3, None)
    parted = behave.compared(_scores([1, 2, 3, 4]), _scores([1, 2, 6, 4]), table)
    assert (parted.identical, parted.greedy_tokens) == (0, 2)
    assert parted.divergence and parted.divergence.position == 1
    assert (parted.divergence.before.id, parted.divergence.after.id) == (3, 6)
    elsewhere = behave.compared(_scores([1, 2, 5, 4]), _scores([1, 2, 5, 7]), table)
    assert (elsewhere.identical, elsewhere.greedy_tokens) == (1, 2)


def test_what_is_written_is_what_free_running_decoding_writes(base: Path):
    from transformers import AutoModelForCausalLM

    from weigh.parity.stage import of_module

    module = AutoModelForCausalLM.from_pretrained(base).eval()
    chosen = [[5, 6, 7, 8], [9, 10, 11, 12], [13, 14]]
    cached = probe.written(chosen, module, of_module(module), 5)
    whole = probe.written(chosen, None, of_module(module), 5)
    assert torch.equal(cached.ids, whole.ids)
    ids = torch.tensor(chosen[:2])
    made = module.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, min_new_tokens=5, do_sample=False
    )
    wanted = [row for row in made.tolist() if 2 not in row[4:]]
    assert all(row in cached.ids.tolist() for row in wanted)


def test_prompts_repeat_with_their_seed_and_differ_with_another(base: Path):
    from transformers import AutoTokenizer

    tok = AutoTokenizer.from_pretrained(base)
    one, again, other = (probe.prompts(tok, len(tok), 30, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert {len(ids) for ids in one[:30]} == {probe.LENGTH}
    assert len(one) == 31  # the conversation
    assert len(probe.prompts(None, 50, 3, 0)) == 3


def test_rows_of_a_classifier():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]).log()
    q = torch.tensor([[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]).log()
    found = rows.compared(p, q)
    assert (found.unit, found.prompts, found.identical) == ("row", 3, 2)
    assert found.divergence and found.divergence.prompt == 2
    assert found.gap_max == pytest.approx(np.log(1.5), abs=1e-6)
