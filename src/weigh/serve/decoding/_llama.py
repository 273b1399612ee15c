"""A Llama's step written out, so that `torch.compile` makes a few kernels of a layer; over a cache of fixed size.

A step of generation waits for weights to come out of memory, so they are kept in the narrowest numbers that hold each
of them exactly (a model published in bfloat16 has no more than that, whatever it is computed in; one that was quantized
to 8 bits keeps those, with a scale a row), and are widened in registers; all arithmetic is in the model's own numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from weigh.choice import Unfit
from weigh.serve._compiler import compiled
from weigh.serve.decoding._runner import Runner

if TYPE_CHECKING:
    import torch


Matrix: TypeAlias = "tuple[torch.Tensor, ...]"
"""Weights, shape (rows, columns); or whole numbers of 8 bits and their scales, shape (rows,)."""
STEP = 128
"""The room of a cache is a multiple of it, so that a kernel serves prompts of many lengths."""
TOGETHER = 3
"""Layers of one call: more of them share its overhead, and take longer to compile."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The weights of a Llama as its compiled step reads them.

    Attributes:
        layers: of each layer: projections to queries, keys and values (one matrix), out of attention, gate and up (one
            matrix), down; and its two norms, each alone in a tuple.
        head: from hidden states to tokens; shape (tokens, hidden).
        embedding: shape (tokens, hidden); the same as `head` where the model ties them.
    """

    layers: tuple[tuple[Matrix, ...], ...]
    norm: torch.Tensor
    head: Matrix
    embedding: Matrix


_PACKED: WeakKeyDictionary[Any, Packed] = WeakKeyDictionary()


def packed(module: Any) -> Packed:
    """The weights of a Llama, each as narrow as it can be kept without changing it; packed once for all options.

    Raises:
        Unfit: it is no Llama, one with biases, or one that was quantized otherwise than to 8 bits with a scale a row.
    """
    _need_plain_llama(module)
    if module not in _PACKED:
        _PACKED[module] = _pack(module)
    return _PACKED[module]


def _need_plain_llama(module: Any) -> None:
    if type(module).__name__ != "LlamaForCausalLM" or module.config.hidden_act != "silu":
        raise Unfit(
            f"the compiled step is written for Llama models, and this is a {type(module).__name__}: take the option "
            "without compiled=true"
        )
    if getattr(module.config, "attention_bias", False) or getattr(module.config, "mlp_bias", False):
        raise Unfit("the compiled step knows no biases, and this Llama has some: take the option without compiled=true")


def _pack(module: Any) -> Packed:
    layers = []
    for block in module.model.layers:
        a, f = block.self_attn, block.mlp
        joined, out = _matrix(a.q_proj, a.k_proj, a.v_proj), _matrix(a.o_proj)
        wide, down = _matrix(f.gate_proj, f.up_proj), _matrix(f.down_proj)
        norms = (block.input_layernorm.weight,), (block.post_attention_layernorm.weight,)
        layers.append((joined, out, wide, down, *norms))
    head, table = _matrix(module.lm_head), module.model.embed_tokens
    tied = _numbers(module.lm_head).data_ptr() == _numbers(table).data_ptr()
    return Packed(tuple(layers), module.model.norm.weight, head, head if tied else _matrix(table))


def _numbers(layer: Any) -> torch.Tensor:
    """Weights of a layer as it holds them."""
    found: torch.Tensor = layer.weight if hasattr(layer, "weight") else layer.whole
    return found


def _matrix(*layers: Any) -> Matrix:
    """Layers on top of one another."""
    import torch

    schemes = [layer.scheme for layer in layers if hasattr(layer, "scheme")]
    if any(scheme.bits != 8 or scheme.activations != "float" for scheme in schemes) or 0 < len(schemes) < len(layers):
        raise Unfit(
            "the compiled step reads plain weights, or 8 bits with a scale a row (compress/quantize int8_weights), and "
            "this model was quantized otherwise: take the option without compiled=true"
        )
    whole = torch.cat([_numbers(layer) for layer in layers])
    if schemes:
        return whole, torch.cat([layer.scale for layer in layers]).float()
    return (narrowest(whole),)


def narrowest(weight: torch.Tensor) -> torch.Tensor:
    """The same numbers in bfloat16 or float16 where one of them holds all of them exactly; else as they are."""
    import torch

    for dtype in (torch.bfloat16, torch.float16):
        small = weight.to(dtype)
        if weight.element_size() > small.element_size() and torch.equal(small.to(weight.dtype), weight):
            return small
    return weight


class CompiledRunner(Runner):
    """A Llama whose step is compiled; prompts are read by the module itself.

    Args:
        module: the Llama.
        weights: its packed weights.
        room: tokens that the cache must hold.
        widths: how many tokens at a time it is compiled for; other numbers are padded to the next.

    Raises:
        Unfit: there is no C++ compiler.
    """

    def __init__(self, module: Any, weights: Packed, room: int, widths: Sequence[int]) -> None:
        import torch

        self.module, self._weights, self._widths = module, weights, sorted(set(widths))
        self._room = -(-(room + self._widths[-1]) // STEP) * STEP
        config = module.config
        depth, heads, width = len(weights.layers), config.num_key_value_heads, config.head_dim
        self._keys, self._values = (
            [torch.zeros(heads, self._room, width, dtype=module.dtype) for _ in range(depth)] for _ in range(2)
        )
        places = torch.arange(self._room)[None]
        cosines, sines = module.model.rotary_emb(torch.zeros(1, 1, 1, dtype=module.dtype), places)
        self._turns = cosines[0].clone(), sines[0].clone()
        self._layers, self._head = _compiled()
        self.held = 0
        for wide in self._widths:  # compiled now, not while an answer is timed
            self.held = 0
            self.feed([0] * wide)

    def read(self, prompt: Sequence[int]) -> int:
        import torch
        from transformers import DynamicCache

        filled: Any = DynamicCache(config=self.module.config)
        out = self.module(input_ids=torch.tensor([prompt]), past_key_values=filled, use_cache=True, logits_to_keep=1)
        self.held = len(prompt)
        for layer, keys, values in zip(filled.layers, self._keys, self._values, strict=True):
            keys[:, : self.held], values[:, : self.held] = layer.keys[0], layer.values[0]
        return int(out.logits[0, -1].argmax())

    def feed(self, tokens: Sequence[int]) -> list[int]:
        said: list[int] = []
        for start in range(0, len(tokens), self._widths[-1]):
            said += self._step(tokens[start : start + self._widths[-1]])
        return said

    def _step(self, tokens: Sequence[int]) -> list[int]:
        import torch

        wide = next(width for width in self._widths if width >= len(tokens))
        if self.held + wide > self._room:
            raise IndexError(f"the cache holds {self._room} tokens; {self.held + wide} are wanted")
        ids = torch.tensor([*tokens, *[0] * (wide - len(tokens))])
        places = torch.arange(self.held, self.held + wide)
        mask = torch.arange(self._room)[None] > places[:, None]
        turns = [turn[places][:, None] for turn in self._turns]
        x = _rows(self._weights.embedding, ids).to(self.module.dtype)
        for first in range(0, len(self._keys), TOGETHER):
            some = slice(first, first + TOGETHER)
            cache = self._keys[some], self._values[some]
            x = self._layers(
                x, places, mask, turns, *cache, self._weights.layers[some], self.module.config.rms_norm_eps
            )
        self.held += len(tokens)
        said: list[int] = self._head(
            x, self._weights.norm, self._weights.head, self.module.config.rms_norm_eps
        ).tolist()
        return said[: len(tokens)]

    def keep(self, count: int) -> None:
        self.held = count

    def kept(self) -> list[torch.Tensor]:
        weights = [tensor for block in self._weights.layers for matrix in block for tensor in matrix]
        whole = (self._weights.norm, *self._weights.head, *self._weights.embedding)
        return [*self.module.parameters(), *weights, *whole, *self._keys, *self._values]

    def cache_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self._keys, *self._values))


@cache
def _compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Some layers, and the head, one pair a process; torch keeps a kernel for each shape.

    Kernels are called by C++: by Python, a step of a small model would wait as long for calls as for some layers.
    """
    how: dict[str, Any] = {"dynamic": False, "fullgraph": True, "options": {"cpp_wrapper": True}}
    return compiled(layers, **how), compiled(head, **how)


def layers(
    x: torch.Tensor, places: torch.Tensor, mask: torch.Tensor, turns: Sequence[torch.Tensor],
    keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], weights: Sequence[Sequence[Matrix]], eps: float,
) -> torch.Tensor:  # fmt: skip
    """Some layers, one after another; arguments as of `layer`, of each layer."""
    for of_keys, of_values, of_weights in zip(keys, values, weights, strict=True):
        x = layer(x, places, mask, turns, of_keys, of_values, of_weights, eps)
    return x


def layer(
    x: torch.Tensor, places: torch.Tensor, mask: torch.Tensor, turns: Sequence[torch.Tensor], keys: torch.Tensor,
    values: torch.Tensor, weights: Sequence[Matrix], eps: float,
) -> torch.Tensor:  # fmt: skip
    """One layer for a few tokens; their keys and values are written into the cache.

    Args:
        x: hidden states, shape (tokens, hidden).
        places: the tokens' places, shape (tokens,), int64.
        mask: true where a token must not look, shape (tokens, room).
        turns: cosines and sines of rotary positions, each shape (tokens, 1, head_dim).
        keys, values: the cache, each shape (kv_heads, room, head_dim).
    """
    import torch

    joined, out, wide, down, (first,), (second,) = weights
    count, (groups, room, width) = len(x), keys.shape
    heads = (len(joined[0]) - 2 * groups * width) // width
    q, k, v = product(normed(x, first, eps), joined).split([heads * width, groups * width, groups * width], -1)
    q, k = turned(q.view(count, heads, width), turns), turned(k.view(count, groups, width), turns)
    keys.index_copy_(1, places, k.transpose(0, 1))
    values.index_copy_(1, places, v.view(count, groups, width).transpose(0, 1))
    q = q.view(count, groups, -1, width).permute(1, 2, 0, 3).reshape(groups, -1, width)
    scores = (q @ keys.transpose(1, 2) * width**-0.5).view(groups, -1, count, room)
    shares = torch.softmax(scores.masked_fill(mask, float("-inf")), -1)
    seen = (shares.view(groups, -1, room) @ values).view(groups, -1, count, width)
    x = x + product(seen.permute(2, 0, 1, 3).reshape(count, -1), out)
    gate, up = product(normed(x, second, eps), wide).chunk(2, -1)
    return x + product(torch.nn.functional.silu(gate) * up, down)


def head(x: torch.Tensor, norm: torch.Tensor, words: Matrix, eps: float) -> torch.Tensor:
    """The most likely token after each; shape (tokens,)."""
    return product(normed(x, norm, eps), words).argmax(-1)


def normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Root mean square normalisation in float32 (arXiv 1910.07467), as transformers' Llama has it."""
    import torch

    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def turned(x: torch.Tensor, turns: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rotary positions (arXiv 2104.09864), halves against halves."""
    import torch

    half = x.shape[-1] // 2
    return x * turns[0] + torch.cat([-x[..., half:], x[..., :half]], -1) * turns[1]


def _rows(weight: Matrix, places: torch.Tensor) -> torch.Tensor:
    """Rows of a matrix, in float32 where they are kept as whole numbers."""
    return weight[0][places] if len(weight) == 1 else weight[0][places].float() * weight[1][places][:, None]


def product(x: torch.Tensor, weight: Matrix) -> torch.Tensor:
    """x w' as sums of widened products: one loop over the weights that reads each once for all rows of x.

    `x` is laid down first: fused into the loop it would be computed again for every row of the weights.
    """
    import torch

    laid = x.as_strided((x.numel(),), (1,)).view(x.shape)
    sums = torch.stack([(weight[0].float() * row.float()).sum(-1) for row in laid])
    return (sums * weight[1] if len(weight) == 2 else sums).to(x.dtype)
