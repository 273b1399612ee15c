"""Rounding weights one input after another, each error made good by the inputs that are still to be rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.compress.quantize._packing import Grid, Whole, grid, whole
from weigh.model.packed import Scheme

if TYPE_CHECKING:
    import torch

BLOCK = 128


def squares(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    """What the inputs of a layer add to its Hessian: X^T X, shape (columns, columns)."""
    flat = inputs.reshape(-1, inputs.shape[-1]).float()
    return flat.T @ flat


def solved(weight: torch.Tensor, hessian: torch.Tensor, scheme: Scheme, damping: float = 0.01) -> Whole:
    """Whole numbers that change the outputs of a layer little, for inputs like those of the Hessian.

    Inputs are rounded in the order of their energy, the greatest first, on the grid of the unchanged weights.

    Args:
        weight: shape (rows, columns).
        hessian: sum of x^T x over the inputs x, shape (columns, columns).
        damping: share of the mean energy that is added to that of each input.

    Source: Frantar et al., GPTQ (arXiv 2210.17323), algorithm 1, with its `act_order` and static groups.
    """
    import torch

    steps, each = grid(weight, scheme), scheme.group or weight.shape[1]
    energy = hessian.diagonal().clone()
    order = torch.argsort(energy, descending=True)
    left = weight.float()[:, order].clone()
    upper = _upper(hessian.float()[order][:, order], damping)
    numbers = torch.empty_like(left)
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        errors = _block(left, numbers, upper, steps, (order // each).tolist(), start, stop)
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return whole(numbers[:, torch.argsort(order)], steps)


def _upper(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of a damped Hessian; an input that is always 0 is rounded to nearest."""
    import torch

    energy = hessian.diagonal()
    energy[energy == 0] = 1
    energy += damping * energy.mean()
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)


def _block(
    left: torch.Tensor,
    numbers: torch.Tensor,
    upper: torch.Tensor,
    steps: Grid,
    groups: list[int],
    start: int,
    stop: int,
) -> torch.Tensor:
    """Round some columns of what is left; returns their errors, each over its own share, shape (rows, stop - start)."""
    import torch

    errors = torch.empty_like(left[:, start:stop])
    for j in range(start, stop):
        column, group = left[:, j], groups[j]
        numbers[:, j] = steps.rounded(column[:, None], group)[:, 0]
        moved = numbers[:, j] if steps.zero is None else numbers[:, j] - steps.zero[:, group]
        errors[:, j - start] = (column - moved * steps.scale[:, group]) / upper[j, j]
        left[:, j + 1 : stop] -= errors[:, j - start, None] * upper[j, j + 1 : stop]
    return errors
