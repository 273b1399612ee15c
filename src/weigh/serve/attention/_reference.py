"""What attention is, in float64; and how far an output is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.serve.attention.naive import Naive

if TYPE_CHECKING:
    import torch


class WrongOutput(RuntimeError):
    """An option does not compute attention to within the tolerance."""


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Attention in float64, head by head, so that one matrix of scores is held at a time; shape of `q`."""
    import torch

    made, group = torch.empty(q.shape, dtype=torch.float64), q.shape[1] // k.shape[1]
    for head in range(q.shape[1]):
        kept = head // group
        one, key, value = (of[:, at : at + 1].double() for of, at in ((q, head), (k, kept), (v, kept)))
        made[:, head : head + 1] = Naive().attend(one, key, value, causal)
    return made


def error_of(output: torch.Tensor, truth: torch.Tensor, allowed: float, spec: str) -> float:
    """The greatest difference.

    Raises:
        WrongOutput: it is beyond what is allowed, or no number, or the output has another shape.
    """
    if output.shape != truth.shape:
        raise WrongOutput(f"{spec} gave the shape {tuple(output.shape)}; attention gives {tuple(truth.shape)}")
    error = float((output.cpu().double() - truth).abs().max())
    if not error <= allowed:
        raise WrongOutput(
            f"{spec} differs from attention in float64 by {error:.3g}, more than the tolerance of {allowed:g}: it "
            "computes something else, or too coarsely; give the task another tolerance=... if that is meant"
        )
    return error
