"""Torch models in 16 bits a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.compress.quantize._packing import loaded
from weigh.model.module import load_module, need_torch, save_module
from weigh.model.source import Source


def cast(source: Source, folder: Path, name: str, number: str) -> Path:
    """Write a torch model with its weights and its arithmetic in another floating point.

    Raises:
        Unfit: it is no torch model, a weight is beyond the numbers, or torch.export cannot trace it.
    """
    import torch

    need_torch(source, name)
    net = loaded(source, name) if source.format == "huggingface" else load_module(source)
    to = getattr(torch, number)
    _need_within(net, to, number)
    return save_module(net.to(to), source, folder, number)


def _need_within(net: Any, to: Any, number: str) -> None:
    import torch

    most = torch.finfo(to).max
    for place, weight in net.named_parameters():
        if weight.is_floating_point() and float(weight.abs().max()) > most:
            raise Unfit(
                f"'{place}' holds a weight of {float(weight.abs().max()):,.6g}, and {number} ends at {most:,.0f}"
            )
