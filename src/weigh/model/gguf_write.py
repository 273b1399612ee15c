"""A Llama as a GGUF file, as llama.cpp runs it: weights, sizes, rotary positions and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weigh.choice import Unfit
from weigh.model.gguf_tokens import write_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

Numbers: TypeAlias = Literal["F32", "F16", "BF16", "Q8_0"]

LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(source: Source, target: Path, numbers: Numbers = "F16", ids_only: bool = False) -> Path:
    """Write a Llama as GGUF.

    Args:
        source: a Hugging Face folder of a Llama.
        numbers: of the matrices; vectors (norms, biases) stay in float32, as llama.cpp wants them.
        ids_only: the file will be given token ids, never text, so that a tokenizer that llama.cpp lacks will do.

    Raises:
        Unfit: another architecture, rotary positions or a tokenizer that this does not write.
    """
    import gguf

    from weigh.model.module import load_module, load_tokenizer

    _need_llama(source)
    net = load_module(source, "float32")
    writer = gguf.GGUFWriter(target, "llama")
    try:
        _write_sizes(writer, net.config, numbers)
        write_tokens(writer, source.path, load_tokenizer(source), net.config, ids_only)
        _write_weights(writer, net, numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return target


def _need_llama(source: Source) -> None:
    from weigh.model.huggingface import read_json

    config = read_json(source.path / "config.json") if source.format == "huggingface" else {}
    name = (config.get("architectures") or [source.format])[0]
    if name != "LlamaForCausalLM":
        raise Unfit(f"weigh writes GGUF of LlamaForCausalLM, and this model is {name}: convert it with llama.cpp's own "
                    "convert_hf_to_gguf.py, which knows more, and give that file")  # fmt: skip
    if "quantization_config" in config:
        raise Unfit("the folder is quantized; give the folder that it was made of, and let GGUF's own numbers quantize")


def _write_sizes(writer: Any, config: Any, numbers: Numbers) -> None:
    import gguf

    head = _head_size(config)
    writer.add_name(getattr(config, "_name_or_path", "") or "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if numbers == "F32" else f"MOSTLY_{numbers}"])
    _write_rope(writer, config)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _write_rope(writer: Any, config: Any) -> None:
    """Rotary positions; those of Llama 3 become a tensor of factors.

    Raises:
        Unfit: another kind of scaling.
    """
    import gguf
    import numpy as np

    rope = dict(getattr(config, "rope_parameters", None) or {})
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    elif kind == "llama3":
        writer.add_tensor("rope_freqs.weight", np.asarray(llama3_factors(rope, _head_size(config)), np.float32))
    elif kind != "default":
        raise Unfit(
            f"weigh writes no GGUF of rotary positions of the type {kind}: use llama.cpp's convert_hf_to_gguf.py"
        )


def llama3_factors(rope: dict[str, Any], head: int) -> list[float]:
    """By what each frequency is divided: short waves by 1, long ones by `factor`, those between by something between.

    Source: Llama 3.1; `transformers.modeling_rope_utils._compute_llama3_parameters`.
    """
    import math

    context, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    found = []
    for place in range(0, head, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (place / head)
        smooth = (context / wave - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        found.append(1.0 if wave < context / high else float(factor) if wave > context / low else between)
    return found


def _write_weights(writer: Any, net: Any, numbers: Numbers) -> None:
    tied = net.config.tie_word_embeddings
    for name, tensor in net.state_dict().items():
        if not (tied and name == "lm_head.weight"):
            values = tensor.float().numpy()
            _write_tensor(writer, named(name), ordered(name, values, net.config), numbers)


def named(name: str) -> str:
    """What llama.cpp calls a weight.

    >>> named("model.layers.3.mlp.up_proj.weight")
    'blk.3.ffn_up.weight'

    Raises:
        Unfit: it knows no such weight.
    """
    stem, _, end = name.rpartition(".")
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{end}"
    parts = stem.split(".", 3)
    if len(parts) == 4 and parts[:2] == ["model", "layers"] and parts[3] in LAYER:
        return f"blk.{parts[2]}.{LAYER[parts[3]]}.{end}"
    raise Unfit(f"llama.cpp has no place for the weight '{name}' of this Llama: merge adapters before it is written")


def ordered(name: str, values: NDArray[np.float32], config: Any) -> NDArray[np.float32]:
    """Queries and keys with the two halves of each head interleaved: llama.cpp turns neighbours, not halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return values
    rest = values.shape[1:]
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *rest).swapaxes(1, 2).reshape(values.shape)


def _write_tensor(writer: Any, name: str, values: NDArray[np.float32], numbers: Numbers) -> None:
    """Raises `Unfit` where rows are no multiple of a block of 32 and the numbers are Q8_0."""
    import gguf
    import numpy as np

    kind = gguf.GGMLQuantizationType[numbers if values.ndim > 1 else "F32"]
    if kind == gguf.GGMLQuantizationType.Q8_0 and values.shape[-1] % 32:
        raise Unfit(f"Q8_0 packs blocks of 32, and '{name}' has rows of {values.shape[-1]}: type F16 instead")
    if kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
    elif kind == gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, np.ascontiguousarray(values, np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
