"""How large a cache of keys and values is."""

from __future__ import annotations

from typing import Any


def kv_bytes(module: Any) -> int:
    """Bytes a token: 2 x layers x heads of keys and values x width of a head x bytes of a number."""
    config = module.config.get_text_config()
    return 2 * int(config.num_hidden_layers) * kv_heads(config) * head_width(config) * int(module.dtype.itemsize)


def kv_heads(config: Any) -> int:
    """Heads of keys and values; as many as of queries where the config knows no others."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_width(config: Any) -> int:
    """Numbers of one head's key."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
