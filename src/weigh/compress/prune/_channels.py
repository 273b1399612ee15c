"""Convolutional nets: channels cut by dependency graph."""

from __future__ import annotations

from typing import Any

from weigh.choice import Unfit
from weigh.compress.prune._width import kept_width
from weigh.model.layers import need_layers
from weigh.model.net import example_rows
from weigh.model.source import Source, reason
from weigh.model.walk import in_order


def need_channels(share: float, heads: float) -> None:
    """Raises `Unfit` where the settings say nothing about channels."""
    if heads:
        raise Unfit(f"heads={heads} cuts heads of transformers from a Hugging Face folder; this net has none known")
    if not share:
        raise Unfit("share=0 cuts nothing: type structured:share=0.25")


def thin(net: Any, source: Source, share: float, multiple: int) -> None:
    """Cut a share of the channels of every layer but the last, in place, those of least weights (L2 over a group).

    Raises:
        Unfit: the net cannot be traced, or nothing was cut.
    """
    import torch
    import torch_pruning as tp

    need_layers(net)
    example = example_rows(net, source)
    last = in_order(net, {"X": example})[-1]
    before = sum(one.numel() for one in net.parameters())
    net.requires_grad_(True)  # the graph is found by following gradients
    try:
        with torch.enable_grad():
            pruner = tp.pruner.BasePruner(
                net, example, importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=share,
                ignored_layers=[last], pruning_ratio_dict=_shares(net, last, share, multiple),
            )  # fmt: skip
            pruner.step()
            net(example)
    except Exception as error:  # tracing raises errors of many kinds
        raise Unfit(f"torch-pruning cannot trace this net: {type(error).__name__}: {reason(error)}") from None
    net.requires_grad_(False)
    if sum(one.numel() for one in net.parameters()) == before:
        raise Unfit(f"share={share} cuts no channel of it: type a greater share, or multiple=1")


def _shares(net: Any, last: Any, share: float, multiple: int) -> dict[Any, float]:
    """What to cut of each layer so that its width is a multiple; narrow layers may have any width.

    torch-pruning's own `round_to` rounds widths down, which cuts more than was asked.
    """
    shares = {}
    for layer in need_layers(net).values():
        width = len(layer.weight)
        kept = kept_width(width, share, multiple if width >= 2 * multiple else 1)
        shares[layer] = 1 - (kept + 0.5) / width  # it takes the whole part of what is left
    return {layer: one for layer, one in shares.items() if layer is not last}
