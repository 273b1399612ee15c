"""The parts of a net that pruning works on: layers with weights, and the blocks of a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit

if TYPE_CHECKING:
    import torch


def layers(net: Any) -> dict[str, Any]:
    """Linear and convolution layers by name, in the order of their definition.

    The output layer of a language model is left out: it is often the embedding as well, and pruning it costs far more
    than pruning the blocks (2306.11695, section 4).
    """
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    head = net.get_output_embeddings() if hasattr(net, "get_output_embeddings") else None
    return {name: part for name, part in net.named_modules() if isinstance(part, kinds) and part is not head}


def need_layers(net: Any) -> dict[str, Any]:
    """The same; `Unfit` where there are none."""
    found = layers(net)
    if not found:
        raise Unfit("nothing to prune: the net has no linear and no convolution layer (torch.nn.Linear, Conv1d to 3d)")
    return found


def matrix(weight: torch.Tensor) -> torch.Tensor:
    """A weight as (outputs, columns), the input channel running fastest, as sparse kernels want it."""
    return weight.movedim(1, -1).reshape(len(weight), -1)


def shaped(table: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A matrix back in the shape of the weight that it was made of."""
    moved = weight.movedim(1, -1).shape
    return table.reshape(moved).movedim(-1, 1)


def blocks(net: Any) -> Any:
    """The blocks of a transformer, a `torch.nn.ModuleList`; None in other nets."""
    from torch import nn

    count = getattr(getattr(net, "config", None), "num_hidden_layers", 0)
    lists = [part for part in net.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    return lists[0] if count and lists else None


def need_blocks(net: Any, who: str) -> Any:
    """The same; `Unfit` where there are none."""
    found = blocks(net)
    if found is None:
        raise Unfit(
            f"{who} needs a transformer, whose config says num_hidden_layers, and this net has no such blocks; "
            "structured prunes such nets"
        )
    return found
