"""Optimal brain surgery on one layer: which weights go, and how those that stay are moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.compress.prune._masks import least

if TYPE_CHECKING:
    import torch


def gram(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    """The sum of x x' over all inputs x of a layer, in the order of the columns of its matrix.

    Raises:
        Unfit: the layer is neither linear nor a plain convolution over pictures.
    """
    import torch

    if isinstance(layer, torch.nn.Linear):
        rows = inputs.reshape(-1, inputs.shape[-1])
        return rows.T @ rows
    if not isinstance(layer, torch.nn.Conv2d) or layer.groups > 1 or isinstance(layer.padding, str):
        raise Unfit(f"sparsegpt knows linear layers and plain Conv2d, and this net has {layer}; wanda takes any")
    patches = torch.nn.functional.unfold(
        inputs, layer.kernel_size, dilation=layer.dilation, padding=layer.padding, stride=layer.stride
    )
    channel_last = patches.unflatten(1, (layer.in_channels, -1)).transpose(1, 2).flatten(1, 2)
    rows = channel_last.transpose(1, 2).flatten(0, 1)
    return rows.T @ rows


def solved(rows: torch.Tensor, seen: torch.Tensor, share: float, damping: float, columns: int) -> torch.Tensor:
    """The rows with a share of zeros.

    Args:
        rows: a layer's matrix, shape (outputs, columns).
        seen: what `gram` gives of its inputs, shape (columns, columns).
        columns: width of the stripes in which the share holds.

    Source: Frantar and Alistarh, arXiv 2301.00774, algorithm 1.
    """
    import torch

    rows, inverse = rows.clone(), _root_of_inverse(seen, damping)
    for start in range(0, rows.shape[1], columns):
        stop = min(start + columns, rows.shape[1])
        part, errors = rows[:, start:stop], torch.zeros(len(rows), stop - start)
        corner = inverse[start:stop, start:stop]
        gone = least((part / corner.diagonal()).square(), share)
        for place in range(stop - start):
            column = part[:, place].clone()
            part[gone[:, place], place] = 0.0
            errors[:, place] = (column - part[:, place]) / corner[place, place]
            part[:, place + 1 :] -= errors[:, place : place + 1] * corner[place, place + 1 :]
        rows[:, stop:] -= errors @ inverse[start:stop, stop:]
    return rows


def _root_of_inverse(seen: torch.Tensor, damping: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped matrix."""
    import torch

    whole = seen.double()
    diagonal = whole.diagonal()
    diagonal += damping * diagonal.mean() + torch.finfo(torch.float32).tiny
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(whole))
    return torch.linalg.cholesky(inverse, upper=True).float()
