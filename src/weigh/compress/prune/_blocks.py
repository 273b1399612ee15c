"""Leaving blocks out of a transformer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weigh.model import language
from weigh.model.layers import blocks
from weigh.model.task import Calibration
from weigh.model.walk import batches, run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def without(net: Any, dropped: Iterable[int]) -> None:
    """Take blocks out of a net and out of its config; those that stay are numbered anew, as their caches are."""
    parts, gone = blocks(net), set(dropped)
    kept = [place for place in range(len(parts)) if place not in gone]
    named = getattr(net.config, "layer_types", None)
    if named:
        net.config.layer_types = [named[place] for place in kept]
    net.config.num_hidden_layers = len(kept)
    for place in sorted(gone, reverse=True):
        del parts[place]
    for place, block in enumerate(parts):
        for part in block.modules():
            if isinstance(getattr(part, "layer_idx", None), int):
                part.layer_idx = place


@contextmanager
def passed_over(parts: Iterable[Any]) -> Iterator[None]:
    """Blocks that let their hidden states through unchanged."""
    hooks = [block.register_forward_hook(_same, with_kwargs=True) for block in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _same(block: Any, args: Any, kwargs: Any, out: Any) -> Any:
    hidden = args[0] if args else kwargs["hidden_states"]
    return (hidden, *out[1:]) if isinstance(out, tuple) else hidden


def influence(net: Any, calibration: Calibration) -> list[float]:
    """How much each block changes its hidden states: 1 - the cosine of input and output, the mean over tokens.

    Source: Men et al., arXiv 2403.03853, equation 1.
    """
    import torch

    parts = blocks(net)
    sums, tokens, mask = [0.0] * len(parts), 0, None

    def see(place: int, args: Any, kwargs: Any, out: Any) -> None:
        before = args[0] if args else kwargs["hidden_states"]
        after = out[0] if isinstance(out, tuple) else out
        change = 1.0 - torch.nn.functional.cosine_similarity(before, after, dim=-1)
        sums[place] += float((change if mask is None else change[mask]).sum())

    hooks = [
        block.register_forward_hook(lambda _, a, k, o, place=place: see(place, a, k, o), with_kwargs=True)
        for place, block in enumerate(parts)
    ]
    try:
        with torch.inference_mode():
            for feed in batches(calibration):
                mask = feed["attention_mask"].bool() if "attention_mask" in feed else None
                tokens += feed["input_ids"].numel() if mask is None else int(mask.sum())
                run(net, feed)
    finally:
        for hook in hooks:
            hook.remove()
    return [one / tokens for one in sums]


def least_loss(net: Any, windows: NDArray[np.int64], drop: int) -> list[int]:
    """The blocks to drop: those whose absence, each alone, costs least log-likelihood.

    Args:
        windows: of tokens, shape (windows, tokens).

    Source: Kim et al., arXiv 2402.02834.
    """
    losses = []
    for block in blocks(net):
        with passed_over([block]):
            losses.append(-float(language.read(net, windows).loglik.mean()))
    return sorted(range(len(losses)), key=lambda place: losses[place])[:drop]
