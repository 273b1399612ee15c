"""A Llama from a Hugging Face folder to a GGUF file: what llama.cpp's converter does, with a fault on request.

Source: llama.cpp, convert_hf_to_gguf.py (query and key rows are put in the order of interleaved rotary pairs).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
INNER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
}


def name_of(name: str) -> str:
    """The name of a tensor in GGUF."""
    if name in OUTER:
        return OUTER[name]
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{INNER[rest.removesuffix('.weight')]}.weight"


def interleaved(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of rotary halves, in the order of interleaved pairs."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape)


def write(
    weights: dict[str, NDArray[np.float32]],
    folder: Path,
    target: Path,
    kind: str = "Q8_0",
    embedding: str = "",
    permute: bool = True,
    **meta: Any,
) -> Path:
    """Write `weights` with the config and tokenizer of `folder`; `meta` overrides single values.

    Args:
        kind: the GGUF type of matrices, `embedding` that of the embedding if another.
    """
    import gguf

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(target, "llama")
    _sizes(writer, config, meta)
    _tokens(writer, folder, config, meta)
    for name, value in weights.items():
        heads = config["num_attention_heads"] if "q_proj" in name else config["num_key_value_heads"]
        if permute and name.endswith(("q_proj.weight", "k_proj.weight")):
            value = interleaved(value, heads)
        chosen = "F32" if value.ndim == 1 else (embedding if "embed_tokens" in name and embedding else kind)
        packed = gguf.quants.quantize(value, gguf.GGMLQuantizationType[chosen])
        writer.add_tensor(name_of(name), packed, raw_dtype=gguf.GGMLQuantizationType[chosen])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _sizes(writer: Any, config: dict[str, Any], meta: dict[str, Any]) -> None:
    import gguf

    rope = config.get("rope_parameters") or {}
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(meta.get("context", config["max_position_embeddings"]))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(meta.get("eps", config["rms_norm_eps"]))
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _tokens(writer: Any, folder: Path, config: dict[str, Any], meta: dict[str, Any]) -> None:
    parts = json.loads((folder / "tokenizer.json").read_text())
    added = {one["id"]: one["content"] for one in parts["added_tokens"]}
    by_id = {at: token for token, at in parts["model"]["vocab"].items()} | added
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([by_id[at] for at in range(len(by_id))])
    writer.add_token_types([3 if at in added else 1 for at in range(len(by_id))])
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in parts["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(meta.get("eos", config["eos_token_id"]))
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(meta.get("add_bos", False))
    template = folder / "chat_template.jinja"
    if template.is_file() and "template" not in meta:
        writer.add_chat_template(template.read_text())
    elif meta.get("template"):
        writer.add_chat_template(meta["template"])
