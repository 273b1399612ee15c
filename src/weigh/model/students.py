"""Smaller nets made of a transformer: fewer layers, narrower feed-forward parts."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.model.source import Source

MLPS = (
    ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    ("intermediate.dense", "output.dense"),
    ("mlp.fc1", "mlp.fc2"),
)
"""Names of the linear layers of a block's feed-forward part: those into it, then the one out of it."""


def evenly(layers: int, kept: int) -> tuple[int, ...]:
    """Which layers to keep: spread evenly, the first and the last among them.

    >>> evenly(6, 3), evenly(30, 4), evenly(4, 1)
    ((0, 2, 5), (0, 9, 19, 29), (0,))

    Raises:
        Unfit: more than there are, or none.
    """
    if not 1 <= kept <= layers:
        raise Unfit(f"a student of {kept} layers cannot be made of a teacher of {layers}: type layers=1 to {layers}")
    return tuple(int(place * (layers - 1) / max(1, kept - 1)) for place in range(kept))


def blocks_of(net: Any) -> Any:
    """The `ModuleList` of a transformer's layers.

    Raises:
        Unfit: it has none, or several.
    """
    import torch

    count = getattr(getattr(net, "config", None), "num_hidden_layers", None)
    found = [one for one in net.modules() if isinstance(one, torch.nn.ModuleList) and len(one) == count]
    if count is None or len(found) != 1:
        raise Unfit(
            f"{type(net).__name__} is no transformer of one stack of layers, so that layers cannot be left out: name a "
            "student of your own (student=...)"
        )
    return found[0]


def shallower(net: Any, kept: Sequence[int]) -> Any:
    """A copy of a transformer with some of its layers, renumbered; the net itself is left as it is."""
    import torch

    small = copy.deepcopy(net)
    blocks = blocks_of(small)
    left = torch.nn.ModuleList([blocks[place] for place in kept])
    for place, block in enumerate(left):
        for part in block.modules():
            if hasattr(part, "layer_idx"):
                setattr(part, "layer_idx", place)  # noqa: B010 (torch types it as a tensor)
    owner, name = _owner(small, blocks)
    setattr(owner, name, left)
    small.config.num_hidden_layers = len(kept)
    if kinds := getattr(small.config, "layer_types", None):
        small.config.layer_types = [kinds[place] for place in kept]
    return small


def _owner(net: Any, part: Any) -> tuple[Any, str]:
    return next((one, name) for one in net.modules() for name, child in one.named_children() if child is part)


def narrower(net: Any, share: float) -> Any:
    """A copy whose feed-forward parts keep that share of their neurons: those with the greatest product of norms.

    Raises:
        Unfit: the parts are not built of linear layers known by name.
    """
    small = copy.deepcopy(net)
    if share >= 1:
        return small
    width = 0
    for block in blocks_of(small):
        *into, out = _feed_forward(block)
        width = max(1, round(share * out.weight.shape[1]))
        worth = out.weight.float().norm(dim=0)
        for one in into:
            worth = worth * one.weight.float().norm(dim=1)
        kept = worth.topk(width).indices.sort().values
        for one in into:
            _cut(one, kept, 0)
        _cut(out, kept, 1)
    small.config.intermediate_size = width
    return small


def _feed_forward(block: Any) -> list[Any]:
    parts = dict(block.named_modules())
    for names in MLPS:
        if all(name in parts for name in names):
            return [parts[name] for name in names]
    raise Unfit("the feed-forward parts of this model are not known, so that they cannot be made narrower: type mlp=1")


def _cut(linear: Any, kept: Any, axis: int) -> None:
    """Keep some outputs (axis 0) or inputs (axis 1) of a linear layer."""
    import torch

    linear.weight = torch.nn.Parameter(linear.weight.index_select(axis, kept).clone(), requires_grad=False)
    if axis == 0 and linear.bias is not None:
        linear.bias = torch.nn.Parameter(linear.bias[kept].clone(), requires_grad=False)
    linear.out_features, linear.in_features = linear.weight.shape


def save_as_stored(net: Any, source: Source, folder: Path) -> Path:
    """Write what was made of a Hugging Face model in the numbers that the original is stored in, computed in float32.

    A model kept in bfloat16 would else come out larger than it was.
    """
    import torch

    from weigh.model import huggingface

    config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    net.to(getattr(torch, stored))
    return huggingface.save(net, source.path, folder, compute=huggingface.computed_in(source.path))
