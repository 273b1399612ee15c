"""What theory says: the gain of speculation, and the bytes of a cache."""

from __future__ import annotations

from typing import Any


def expected_speedup(acceptance: float, ahead: int, cost: float) -> float:
    """How many times faster speculation writes: (1 - a^(g+1)) / ((1 - a)(g c + 1)).

    Args:
        acceptance: the chance that a proposed token is taken, 0 to 1.
        ahead: tokens that are proposed at once.
        cost: of one proposed token, as a share of a step of the model.

    Source: Leviathan et al., Fast Inference from Transformers via Speculative Decoding (arXiv 2211.17192), theorem 3.8.

    >>> round(expected_speedup(0.8, 4, 0.05), 3)
    2.801
    >>> expected_speedup(1.0, 4, 0.0)
    5.0
    """
    tokens = sum(acceptance**power for power in range(ahead + 1))
    return tokens / (ahead * cost + 1)


def kv_bytes_per_token(config: Any, itemsize: int) -> int:
    """Bytes of a token's keys and values: 2 x layers x kv_heads x head_dim x bytes of a number."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * width * itemsize)
