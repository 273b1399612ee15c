"""Faults, each in one hop of a pipeline that is otherwise right. The detector knows nothing of this file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.parity import build
from benchmarks.parity.build import Weights, edit
from benchmarks.parity.pipelines import CAST, HALF, Pipeline, Work, merging
from weigh.parity import hop

Break = Callable[[Path], None]
Change = Callable[[Weights], Weights]


def _row(
    work: Work,
    broken: int,
    in_merge: Change | None = None,
    in_cast: Change | None = None,
    after_merge: Break | None = None,
    after_cast: Break | None = None,
    kind: str = "Q8_0",
    hops: str = "gguf",
    rope: bool = False,
    **gguf: Any,
) -> Pipeline:
    """base -> merged -> bfloat16 -> GGUF with something wrong."""
    if broken == 3:
        base, lora, merged, half = work.right()
    else:
        base, lora = work.shared(rope)
        merged = build.merge(base, work.at("merged"), lora, in_merge)
        if after_merge:
            after_merge(merged)
        half = build.cast(merged, work.at("half"), torch.bfloat16, in_cast)
        if after_cast:
            after_cast(half)
    last = build.gguf(half, work.at("gguf") / "model.gguf", kind, **gguf)
    return Pipeline((base, merged, half, last), (merging(lora), CAST, hop(hops)), broken)


def wrong_template(work: Work) -> Pipeline:
    """The cast brings another model's chat template (Zephyr's)."""
    zephyr = (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    return _row(work, 2, after_cast=lambda folder: _text(folder / "chat_template.jinja", zephyr))


def _text(file: Path, text: str) -> None:
    file.write_text(text)


def bf16_merge(work: Work) -> Pipeline:
    """The merge is worked out in bfloat16 and written as float32."""
    base, lora = work.shared()
    weights = build.weights_of(base)
    for name, delta in build.updates(lora).items():
        weights[name] = (weights[name].bfloat16() + delta.bfloat16()).float()
    merged = build.write(weights, base, work.at("merged"), torch.float32)
    half = build.cast(merged, work.at("half"), torch.bfloat16)
    last = build.gguf(half, work.at("gguf") / "model.gguf")
    return Pipeline((base, merged, half, last), (merging(lora), CAST, hop("gguf")), 1)


def merge_into_4bit(work: Work) -> Pipeline:
    """The adapter is merged into the base after that went through 4 bits."""
    import gguf

    base, lora = work.shared()
    weights, kind = build.weights_of(base), gguf.GGMLQuantizationType.Q4_0
    for name, delta in build.updates(lora).items():
        small = gguf.quants.dequantize(gguf.quants.quantize(weights[name].numpy(), kind), kind)
        weights[name] = torch.from_numpy(small) + delta
    merged = build.write(weights, base, work.at("merged"), torch.float32)
    half = build.cast(merged, work.at("half"), torch.float16)
    return Pipeline((base, merged, half), (merging(lora), HALF), 1)


def dropped_tokenizer(work: Work) -> Pipeline:
    """NF4 is saved without a tokenizer."""

    def drop(folder: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).unlink()

    return _nf4(work, drop)


def _nf4(work: Work, change: Break) -> Pipeline:
    base, lora, merged, half = work.right()
    last = build.nf4(half, work.at("nf4"))
    change(last)
    return Pipeline((base, merged, half, last), (merging(lora), CAST, hop("quantize:bits=4")), 3)


def lost_rope_scaling(work: Work) -> Pipeline:
    """The base stretches its positions by 2; the cast forgets it."""
    plain = {"rope_type": "default", "rope_theta": 100000.0}
    return _row(work, 2, rope=True, after_cast=lambda folder: edit(folder / "config.json", rope_parameters=plain))


def wrong_eos(work: Work) -> Pipeline:
    """The merge saves the base model's end of text as EOS."""

    def change(folder: Path) -> None:
        edit(folder / "generation_config.json", eos_token_id=0)
        edit(folder / "config.json", eos_token_id=0)

    return _row(work, 1, after_merge=change)


def untied_head(work: Work) -> Pipeline:
    """The cast writes a head of its own, freshly initialised."""

    def head(weights: Weights) -> Weights:
        table = weights["model.embed_tokens.weight"]
        generator = torch.Generator().manual_seed(work.seed)
        return {**weights, "lm_head.weight": 0.02 * torch.randn(table.shape, generator=generator)}

    def change(folder: Path) -> None:
        edit(folder / "config.json", tie_word_embeddings=False)

    return _row(work, 2, in_cast=head, after_cast=change)


def left_padding(work: Work) -> Pipeline:
    """The quantized model pads on the other side."""
    return _nf4(work, lambda folder: edit(folder / "tokenizer_config.json", padding_side="left"))


def duplicate_bos(work: Work) -> Pipeline:
    """GGUF adds a BOS before what the template has begun with one."""
    return _row(work, 3, add_bos=True)


def transposed_layer(work: Work) -> Pipeline:
    """The cast writes a square matrix of layer 17 transposed."""
    name = "model.layers.17.self_attn.o_proj.weight"
    return _row(work, 2, in_cast=lambda weights: {**weights, name: weights[name].T})


def stale_calibration(work: Work) -> Pipeline:
    """int8 with ranges frozen on one word said over and over."""
    base, lora, merged, _ = work.right()
    graph = build.onnx(merged, work.at("onnx"))
    stale = torch.full((2, 12), 28, dtype=torch.int64)
    small = build.onnx_static(graph, work.at("int8"), stale)
    return Pipeline((base, merged, graph, small), (merging(lora), hop("export"), hop("quantize:bits=8")), 3)


def truncated_positions(work: Work) -> Pipeline:
    """The merge cuts the context to 2,048 tokens."""
    return _row(work, 1, after_merge=lambda folder: edit(folder / "config.json", max_position_embeddings=2048))


def swapped_layers(work: Work) -> Pipeline:
    """The merge writes layers 11 and 12 the wrong way round."""

    def swap(weights: Weights) -> Weights:
        names = {"11": "12", "12": "11"}
        parts = {name: name.split(".") for name in weights}
        return {
            ".".join([*part[:2], names.get(part[2], part[2]), *part[3:]]) if len(part) > 3 else name: weights[name]
            for name, part in parts.items()
        }

    return _row(work, 1, in_merge=swap)


def wrong_eps(work: Work) -> Pipeline:
    """GGUF has another epsilon of RMS norms."""
    return _row(work, 3, eps=1e-6)


def wrong_activation(work: Work) -> Pipeline:
    """The cast's config says GELU."""
    return _row(work, 2, after_cast=lambda folder: edit(folder / "config.json", hidden_act="gelu"))


def unpermuted_heads(work: Work) -> Pipeline:
    """GGUF keeps the rows of queries and keys in Hugging Face's order."""
    return _row(work, 3, permute=False)


def small_embedding(work: Work) -> Pipeline:
    """GGUF has the embedding, which is the head, in 4 bits where 8 were meant."""
    return _row(work, 3, hops="gguf:bits=8", embedding="Q4_0")


def forgotten_alpha(work: Work) -> Pipeline:
    """The merge adds B A without alpha / rank."""
    base, lora = work.shared()
    weights = build.weights_of(base)
    for name, delta in build.updates(lora, scale=1.0).items():
        weights[name] = weights[name] + delta
    merged = build.write(weights, base, work.at("merged"), torch.float32)
    half = build.cast(merged, work.at("half"), torch.bfloat16)
    return Pipeline((base, merged, half), (merging(lora), CAST), 1)


def stale_weights(work: Work) -> Pipeline:
    """GGUF is made of the base, not of what was merged."""
    base, lora, merged, half = work.right()
    last = build.gguf(half, work.at("gguf") / "model.gguf", "Q8_0", weights=build.weights_of(base))
    return Pipeline((base, merged, half, last), (merging(lora), CAST, hop("gguf")), 3)


def bf16_positions(work: Work) -> Pipeline:
    """The export holds rotary frequencies in bfloat16."""

    def change(module: Any) -> None:
        rotary = module.model.rotary_emb
        rotary.inv_freq = rotary.inv_freq.bfloat16().float()

    base, lora, merged, _ = work.right()
    return Pipeline((base, merged, build.onnx(merged, work.at("onnx"), change)), (merging(lora), hop("export")), 2)


def missing_added_tokens(work: Work) -> Pipeline:
    """The cast's tokenizer has forgotten that <|im_start|> and <|im_end|> are tokens."""

    def forget(folder: Path) -> None:
        file = folder / "tokenizer.json"
        parts = json.loads(file.read_text())
        parts["added_tokens"] = [one for one in parts["added_tokens"] if one["id"] not in (1, 2)]
        file.write_text(json.dumps(parts))

    return _row(work, 2, after_cast=forget)


FAULTS: dict[str, Callable[[Work], Pipeline]] = {
    one.__name__: one
    for one in (
        wrong_template,
        bf16_merge,
        merge_into_4bit,
        dropped_tokenizer,
        lost_rope_scaling,
        wrong_eos,
        untied_head,
        left_padding,
        duplicate_bos,
        transposed_layer,
        stale_calibration,
        truncated_positions,
        swapped_layers,
        wrong_eps,
        wrong_activation,
        unpermuted_heads,
        small_embedding,
        forgotten_alpha,
        stale_weights,
        bf16_positions,
    )
}
"""Twenty; `missing_added_tokens` stands aside for trying things out."""
