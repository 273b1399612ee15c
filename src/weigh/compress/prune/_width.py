"""Transformers: narrower MLPs and fewer heads, the same in every block, so that the config describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.compress.prune._masks import energy
from weigh.model.layers import need_blocks
from weigh.model.task import Calibration
from weigh.model.walk import walk

if TYPE_CHECKING:
    import torch

GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
PLAIN = ("intermediate.dense", "output.dense")
HEADS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")


@dataclass(frozen=True, slots=True)
class Widths:
    """What is asked: shares of neurons and of groups of heads to cut, how to score them, a multiple for widths."""

    neurons: float
    heads: float
    activation: bool
    multiple: int


def narrow(net: Any, calibration: Calibration, asked: Widths) -> None:
    """Cut neurons and groups of heads of every block, in place, and say so in the config.

    Raises:
        Unfit: the blocks are built in a way that is not known, or nothing would be cut.
    """
    blocks = need_blocks(net, "structured")
    width = kept_width(int(net.config.intermediate_size), asked.neurons, asked.multiple)
    groups = kept_groups(net, asked.heads) if asked.heads else 0
    if width == net.config.intermediate_size and not groups:
        raise Unfit(f"share={asked.neurons} cuts no neuron of {width}: type a greater share, or multiple=1")
    for block in blocks:
        _mlp(block)
    if asked.activation:
        for block, seen in zip(blocks, walk(net, calibration, energy)):
            _cut_block(net, block, width, groups, seen)
    else:
        for block in blocks:
            _cut_block(net, block, width, groups, {})
    net.config.intermediate_size = width
    if groups:
        _say_heads(net, groups)


def kept_width(width: int, share: float, multiple: int) -> int:
    """How many neurons stay: a multiple of `multiple`, the nearest above, and at least one.

    >>> kept_width(1536, 0.25, 8), kept_width(100, 0.5, 8), kept_width(6, 0.5, 8)
    (1152, 56, 6)
    """
    import math

    kept = math.ceil(width * (1 - share) / multiple) * multiple
    return min(width, max(1, kept))


def kept_groups(net: Any, share: float) -> int:
    """How many groups of heads stay.

    Raises:
        Unfit: heads are not known in this net, or one group is all there is.
    """
    config, block = net.config, need_blocks(net, "structured")[0]
    named = dict(block.named_modules())
    if not all(name in named for name in HEADS):
        raise Unfit(f"heads={share} cuts heads of Llama's kind ({', '.join(HEADS)}), which this net has not: heads=0")
    groups = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    if groups < 2:
        raise Unfit(f"heads={share}: all query heads share one key-value head, so that none can go: heads=0")
    return groups - min(groups - 1, max(1, round(groups * share)))


def _mlp(block: Any) -> tuple[list[Any], Any]:
    """The layers of a block's MLP that make neurons, and the one that reads them.

    Raises:
        Unfit: it is built in a way that is not known.
    """
    named = dict(block.named_modules())
    for names in (GATED, PLAIN):
        if all(name in named for name in names):
            *makers, reader = (named[name] for name in names)
            return makers, reader
    raise Unfit(
        f"its blocks have no MLP that is known ({', '.join(GATED)}, or {', '.join(PLAIN)}); magnitude, wanda and depth "
        "need none"
    )


def _cut_block(net: Any, block: Any, width: int, groups: int, seen: dict[Any, torch.Tensor]) -> None:
    makers, reader = _mlp(block)
    if width < net.config.intermediate_size:
        keep = _best(_columns(makers, reader, seen), width)
        for layer in makers:
            _keep_rows(layer, keep)
        _keep_columns(reader, keep)
    if groups:
        _cut_heads(net.config, dict(block.named_modules()), groups, seen)


def _columns(makers: list[Any], reader: Any, seen: dict[Any, torch.Tensor]) -> torch.Tensor:
    """A score for each neuron: the norm of what it gives to the output, or of all weights that go with it."""
    whole = reader.weight.square().sum(0)
    if seen:
        return whole * seen[reader]
    return whole + sum(layer.weight.square().sum(1) for layer in makers)


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """The places of the greatest scores, in their order."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def _cut_heads(config: Any, named: dict[str, Any], groups: int, seen: dict[Any, torch.Tensor]) -> None:
    q, k, v, o = (named[name] for name in HEADS)
    before = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    scores = _columns([] if seen else [q], o, seen).reshape(before, -1).sum(1)
    keep = _best(scores, groups)
    for layer in (q, k, v):
        _keep_rows(layer, _spread(keep, layer.weight.shape[0] // before))
    _keep_columns(o, _spread(keep, o.weight.shape[1] // before))


def _spread(groups: torch.Tensor, each: int) -> torch.Tensor:
    """The rows of groups that have `each` rows."""
    import torch

    return (groups.unsqueeze(1) * each + torch.arange(each)).flatten()


def _keep_rows(layer: Any, places: torch.Tensor) -> None:
    import torch

    layer.weight = torch.nn.Parameter(layer.weight[places].clone(), requires_grad=False)
    layer.out_features = len(places)
    if layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias[places].clone(), requires_grad=False)


def _keep_columns(layer: Any, places: torch.Tensor) -> None:
    import torch

    layer.weight = torch.nn.Parameter(layer.weight[:, places].clone(), requires_grad=False)
    layer.in_features = len(places)


def _say_heads(net: Any, groups: int) -> None:
    """Put the number of heads into the config; their width, which may follow from that number, stays."""
    config = net.config
    before = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    config.num_attention_heads = config.num_attention_heads // before * groups
    config.num_key_value_heads, config.head_dim = groups, width
