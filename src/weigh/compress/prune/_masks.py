"""Which weights go: the least of each row, of a layer, of the whole net, or of every group of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.model.layers import matrix, shaped

if TYPE_CHECKING:
    import torch


def energy(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    """The sum of squares of what each weight is multiplied with, over all inputs, in a shape that fits the weight's.

    Of a linear layer shape (in,). A convolution meets the same square once a position, so that the sum is what the
    gradient of its output for squared inputs says.
    """
    import torch

    if isinstance(layer, torch.nn.Linear):
        return inputs.reshape(-1, inputs.shape[-1]).square().sum(0)
    with torch.enable_grad():
        weight = layer.weight.detach().clone().requires_grad_()
        return torch.autograd.grad(layer._conv_forward(inputs.square(), weight, None).sum(), weight)[0]


def least_of_rows(scores: torch.Tensor, share: float) -> torch.Tensor:
    """True for the `share` of each row with the least scores; `scores` has shape (outputs, columns)."""
    import torch

    count = int(scores.shape[1] * share)
    places = torch.sort(scores, dim=1, stable=True).indices[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, places, True)


def least_of_groups(scores: torch.Tensor, kept: int, of: int) -> torch.Tensor:
    """True for all but the greatest `kept` of every `of` neighbours in a row."""
    import torch

    groups = scores.reshape(-1, of)
    places = torch.sort(groups, dim=1, descending=True, stable=True).indices[:, kept:]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, places, True).reshape(scores.shape)


def least(scores: torch.Tensor, share: float) -> torch.Tensor:
    """True for the `share` of all numbers with the least scores."""
    import torch

    flat = scores.flatten()
    places = torch.argsort(flat, stable=True)[: int(len(flat) * share)]
    return torch.zeros_like(flat, dtype=torch.bool).index_fill_(0, places, True).reshape(scores.shape)


def cut(layer: Any, mask: torch.Tensor) -> None:
    """Set the masked weights of a layer to zero; `mask` has the shape of the weight, or of its matrix."""
    import torch

    with torch.no_grad():
        weight = layer.weight
        weight.masked_fill_(mask if mask.shape == weight.shape else shaped(mask, weight), 0.0)


def need_divisible(found: list[Any], of: int) -> list[Any]:
    """The layers whose rows fall into groups of `of`; `Unfit` where there are none."""
    fitting = [layer for layer in found if layer.weight.shape[1] % of == 0]
    if not fitting:
        raise Unfit(f"no layer has inputs that fall into groups of {of}; magnitude and wanda need no groups")
    return fitting


def table(layer: Any, score: torch.Tensor) -> torch.Tensor:
    """A score of a weight's shape as a matrix."""
    return matrix(score.expand_as(layer.weight))
