"""What a GGUF file holds, read without llama.cpp: metadata as facts, tensors by their Hugging Face names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import UsageError
from weigh.model import gguf_header
from weigh.parity.facts import ABSENT, CONVERSATION, PLAIN_CONVERSATION, Facts, digest, rendered
from weigh.parity.tensors import EMBEDDING, HEAD, Tensors

if TYPE_CHECKING:
    from torch import Tensor

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
_PERMUTED = ("llama",)
"""Architectures whose query and key rows GGUF keeps in the order of interleaved rotary pairs."""
_SIZES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "vocab_size": "vocab_size",
}


def opened(path: Path) -> Any:
    """A reader of the file.

    Raises:
        UsageError: it is no GGUF file, or cut off; or gguf is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise UsageError(f"{path} is a GGUF file, and gguf is not installed: pip install 'weigh[runtimes]'") from None
    try:
        gguf_header.check(path)
        return gguf.GGUFReader(path)
    except Exception as error:  # the reader raises whatever parsing noise gives
        raise UsageError(f"{path} is no whole GGUF file ({type(error).__name__}: {error}); copy it again") from None


def values(reader: Any) -> dict[str, Any]:
    """The metadata."""
    return {name: _value(field) for name, field in reader.fields.items()}


def _value(field: Any) -> Any:
    """Strings of a list are read here: the reader's own way takes seconds for a vocabulary."""
    from gguf import GGUFValueType

    if field.types[:2] == [GGUFValueType.ARRAY, GGUFValueType.STRING]:
        parts = field.parts
        return [parts[at].tobytes().decode("utf-8", "replace") for at in field.data]
    if field.types[:1] == [GGUFValueType.ARRAY]:
        import numpy as np

        return np.concatenate([field.parts[at] for at in field.data]).tolist() if len(field.data) else []
    return field.contents()


def facts(meta: dict[str, Any]) -> Facts:
    """Facts out of the metadata, under the names that a Hugging Face folder gives them."""
    arch = meta.get("general.architecture", "")
    here = {name.removeprefix(f"{arch}."): value for name, value in meta.items()}
    found: Facts = {f"architecture.{to}": here[name] for name, to in _SIZES.items() if name in here}
    if (eps := found.get("architecture.rms_norm_eps")) is not None:
        found["architecture.rms_norm_eps"] = float(f"{eps:.6g}")
    return found | _rope(here) | _tokenizer(meta) | _template(meta)


def _rope(here: dict[str, Any]) -> Facts:
    kind = str(here.get("rope.scaling.type", "none")).replace("none", "default")
    found: Facts = {"rope.rope_type": kind}
    found["rope.rope_theta"] = float(f"{here.get('rope.freq_base', 10000.0):.6g}")
    if (factor := here.get("rope.scaling.factor")) is not None:
        found["rope.factor"] = float(f"{factor:.6g}")
    if (length := here.get("context_length")) is not None:
        found["rope.max_position_embeddings"] = int(length)
    return found


def _tokenizer(meta: dict[str, Any]) -> Facts:
    tokens = meta.get("tokenizer.ggml.tokens")
    if tokens is None:
        return {"tokenizer.vocabulary": ABSENT}
    found: Facts = {
        "tokenizer.vocabulary": digest(sorted((token, at) for at, token in enumerate(tokens))),
        "tokenizer.size": len(tokens),
    }
    if (merges := meta.get("tokenizer.ggml.merges")) is not None:
        found["tokenizer.merges"] = digest(list(merges))
    kinds = meta.get("tokenizer.ggml.token_type", [])
    found["tokenizer.added_tokens"] = {str(at): tokens[at] for at, kind in enumerate(kinds) if kind in (3, 4)}
    for name in ("bos", "eos"):
        if (value := meta.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            found[f"special.{name}_token_id"] = int(value)
        if (value := meta.get(f"tokenizer.ggml.add_{name}_token")) is not None:
            found[f"tokenizer.add_{name}"] = bool(value)
    if (value := meta.get("tokenizer.ggml.padding_token_id")) is not None:
        found["special.pad_token_id"] = int(value)
    return found


def _template(meta: dict[str, Any]) -> Facts:
    template = meta.get("tokenizer.chat_template")
    if not template:
        return {"template.text": ABSENT}
    tokens = meta.get("tokenizer.ggml.tokens", [])
    speaks = _Speaker(
        template, *(_token(tokens, meta.get(f"tokenizer.ggml.{name}_token_id")) for name in ("bos", "eos"))
    )
    return {
        "template.text": digest(template),
        "template.rendered": digest(rendered(speaks, CONVERSATION)),
        "template.rendered_without_system": digest(rendered(speaks, PLAIN_CONVERSATION)),
    }


def _token(tokens: Sequence[str], at: int | None) -> str:
    return tokens[at] if at is not None and at < len(tokens) else ""


class _Speaker:
    """Renders a template as a tokenizer of transformers does."""

    def __init__(self, template: str, bos: str, eos: str) -> None:
        self._template, self._words = template, {"bos_token": bos, "eos_token": eos}

    def apply_chat_template(self, conversation: list[dict[str, str]], **asked: Any) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        words: dict[str, Any] = {**self._words, "add_generation_prompt": asked["add_generation_prompt"]}
        texts: Any = render_jinja_template([conversation], chat_template=self._template, **words)[0]
        return str(texts[0])


def module(meta: dict[str, Any], tensors: GgufTensors) -> Any:
    """The model as a float32 torch module, built of metadata and tensors; None for what is no Llama, or scales RoPE in
    another way than linearly.

    transformers reads a GGUF too, in many times the time, and loses its RoPE scaling.
    """
    found = facts(meta)
    if meta.get("general.architecture") != "llama" or found["rope.rope_type"] not in ("default", "linear"):
        return None
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    names = {name for name in tensors.names() if name != HEAD or not tensors.shared}
    sizes = {name.partition(".")[2]: value for name, value in found.items() if name.startswith("architecture.")}
    rope = {name: found[f"rope.{name}"] for name in ("rope_type", "rope_theta", "factor") if f"rope.{name}" in found}
    table = tensors.get(EMBEDDING)
    config = LlamaConfig(
        **{**sizes, "vocab_size": table.shape[0]},
        head_dim=sizes["hidden_size"] // sizes["num_attention_heads"],
        rope_parameters=rope,
        max_position_embeddings=found.get("rope.max_position_embeddings", 2048),
        tie_word_embeddings=tensors.shared,
        attention_bias=any(name.endswith("q_proj.bias") for name in names),
    )
    with torch.device("meta"):
        made = LlamaForCausalLM(config)
    made.load_state_dict({name: tensors.get(name) for name in names}, strict=False, assign=True)
    made.tie_weights()
    made.model.rotary_emb = type(made.model.rotary_emb)(config)
    return made.eval().requires_grad_(False)


@final
class GgufTensors(Tensors):
    """Tensors of a GGUF file, dequantized, rotary rows in the order of Hugging Face."""

    def __init__(self, reader: Any, meta: dict[str, Any]) -> None:
        arch = str(meta.get("general.architecture", ""))
        self._heads = int(meta.get(f"{arch}.attention.head_count", 0))
        self._kv = int(meta.get(f"{arch}.attention.head_count_kv", self._heads) or 0)
        self._permuted = arch in _PERMUTED
        self._there = {name: one for one in reader.tensors if (name := hugging_face_name(one.name))}
        self._alias = {HEAD: EMBEDDING} if EMBEDDING in self._there and HEAD not in self._there else {}

    @property
    def shared(self) -> bool:
        """Whether the head is the embedding."""
        return bool(self._alias)

    def names(self) -> Sequence[str]:
        return [*self._there, *self._alias]

    def get(self, name: str) -> Tensor:
        import numpy as np
        import torch
        from gguf.quants import dequantize

        name = self._alias.get(name, name)
        one = self._there[name]
        made = torch.from_numpy(np.array(dequantize(one.data, one.tensor_type), dtype=np.float32))
        if self._permuted and name.endswith(("q_proj.weight", "k_proj.weight")):
            return unpermuted(made, self._heads if "q_proj" in name else self._kv)
        return made

    def kept(self, name: str) -> tuple[str, int]:
        import gguf

        kind = self._there[self._alias.get(name, name)].tensor_type
        plain = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
        if kind.name in plain:
            return plain[kind.name], 0
        block, size = gguf.GGML_QUANT_SIZES[kind]
        named = re.search(r"Q(\d)", kind.name)
        return "", int(named[1]) if named else int(8 * size / block)


def hugging_face_name(name: str) -> str:
    """The name that a tensor of GGUF has in a Hugging Face model; empty where it has none.

    >>> hugging_face_name("blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    stem, _, end = name.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{end}"
    inner = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    return f"model.layers.{inner[1]}.{_INNER[inner[2]]}.{end}" if inner and inner[2] in _INNER else ""


def unpermuted(rows: Tensor, heads: int) -> Tensor:
    """Rows of interleaved rotary pairs (GGUF) put back into halves (Hugging Face), head by head."""
    size = rows.shape[0] // heads // 2
    return rows.reshape(heads, size, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def permuted(rows: Tensor, heads: int) -> Tensor:
    """The other way round."""
    size = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, size, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
