"""What a wrong tensor looks like: transposed, another layer's, an earlier stage's, in another order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weigh.parity.gguf_stage import permuted, unpermuted

if TYPE_CHECKING:
    from torch import Tensor

CLOSER = 0.35
"""What explains a tensor leaves at most this share of its error unexplained."""


def suspect(name: str, found: Tensor, meant: Tensor, of: Any) -> str:
    """The likeliest story of a tensor that is not what was meant; empty where none fits.

    Args:
        of: the comparison that it is part of.
    """
    error = float((found - meant).norm())
    if not float(found.norm()):
        return "it is all 0"
    if error <= 0.02 * float(meant.norm()) and (dtype := _rounded(found, meant)):
        return f"all its numbers are those of {dtype}: it was rounded on this hop"
    stories = [(float((found - other).norm()), text) for other, text in _stories(name, found, meant, of)]
    best = min(stories, default=(error, ""))
    return best[1] if best[0] <= CLOSER * error else ""


def _rounded(found: Tensor, meant: Tensor) -> str:
    """The 16-bit type whose numbers all of `found` are, and not all of `meant`."""
    import torch

    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(found.to(dtype).float(), found) and not torch.equal(meant.to(dtype).float(), meant):
            return str(dtype).removeprefix("torch.")
    return ""


def _stories(name: str, found: Tensor, meant: Tensor, of: Any) -> Iterator[tuple[Tensor, str]]:
    if meant.dim() == 2 and meant.shape[0] == meant.shape[1]:
        yield meant.T, "it is transposed"
    scale = float((found * meant).sum() / meant.square().sum().clamp(min=1e-30))
    if abs(scale - 1) > 0.02:
        yield scale * meant, f"it is {scale:.3g} times what it should be"
    if name in of.updates:
        base, delta = of.before.get(name), of.updates[name].delta()
        part = float(((found - base) * delta).sum() / delta.square().sum().clamp(min=1e-30))
        if abs(part) < 0.02:
            yield base, "the adapter was not merged into it"
        elif abs(part - 1) > 0.02:
            yield base + part * delta, f"the adapter was merged with {part:.3g} times its scale (alpha / rank)"
    for title, tensors in of.earlier:
        if name in tensors.names() and (other := tensors.get(name)).shape == found.shape:
            yield other, f"it is that of an earlier stage, {title}"
    yield from _other_layers(name, found, of)
    if re.search(r"(q_proj|k_proj)\.weight$", name):
        for heads in (head for head in range(1, 65) if found.shape[0] % (2 * head) == 0):
            yield permuted(meant, heads), "its rows are in the order of GGUF, not of Hugging Face"
            yield (
                unpermuted(meant, heads),
                "its rows were put from GGUF's order into that of Hugging Face once too often",
            )


def _other_layers(name: str, found: Tensor, of: Any) -> Iterator[tuple[Tensor, str]]:
    parts = re.fullmatch(r"(.*layers\.)(\d+)(\..*)", name)
    if not parts:
        return
    pattern = re.compile(re.escape(parts[1]) + r"(\d+)" + re.escape(parts[3]))
    for other in of.before.names():
        there = pattern.fullmatch(other)
        if there and there[1] != parts[2] and (value := of.intent(other)[0]).shape == found.shape:
            yield value, f"it is that of layer {there[1]}"
