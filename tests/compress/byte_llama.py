"""A small Llama that reads bytes, trained for seconds on Python's manual: enough to have heads and to teach."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from weigh.data import manual
from weigh.model import language
from weigh.model.distilling import Aim, distil
from weigh.model.toy import random_llama
from weigh.model.training import Plan

LENGTH, SIZES = 48, {"hidden_size": 96, "intermediate_size": 256, "head_dim": 12, "num_attention_heads": 8}
STEPS = 300


@cache
def text() -> tuple[np.ndarray, np.ndarray]:
    """Windows of bytes to train on, and others that judge, drawn in an order of their own."""
    raw = np.frombuffer(manual.text().read_bytes(), np.uint8)
    rows = raw[: len(raw) // LENGTH * LENGTH].reshape(-1, LENGTH).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order[:-600]], rows[order[-600:]]


@cache
def trained(layers: int = 2, steps: int = STEPS) -> Any:
    """With eight heads of keys and values, as many as of queries."""
    torch.set_num_threads(1)
    net = random_llama(0, layers, num_key_value_heads=8, tie_word_embeddings=True, **SIZES)
    for name, weight in net.named_parameters():
        if weight.dim() == 2:
            weight.mul_(0.02 * weight.shape[1] ** 0.5 if "embed" in name else 0.5)
    distil(net, net, text()[0], Plan(steps=steps, batch=16, rate=3e-3), Aim(soft=0.0))
    return net


def loss(net: Any, rows: int = 600) -> np.ndarray:
    """Nats a byte on each window that judges."""
    return -language.read(net, text()[1][:rows]).loglik.mean(1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The mean's 95 % interval, by Student's t."""
    from scipy import stats

    return tuple(stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values)))  # type: ignore[return-value]
