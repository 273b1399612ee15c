"""Rounding the blocks of a transformer in turn, each for what the rounded ones before it say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from weigh.choice import Unfit
from weigh.compress.quantize._hessian import solved, squares
from weigh.compress.quantize._packing import Whole, nearest
from weigh.model.packed import Scheme
from weigh.model.task import Calibration
from weigh.model.walk import walk

WINDOWS: int = Field(64, ge=1, description="calibration windows that are looked at, of those that there are")


def first(calibration: Calibration, windows: int) -> Calibration:
    """The first windows alone.

    Raises:
        Unfit: there are none.
    """
    if not calibration.rows:
        raise Unfit("it looks at what the layers are given, and there are no calibration rows: calibration_rows=64")
    return Calibration({name: values[:windows] for name, values in calibration.feeds.items()}, calibration.batch)


def solve_blocks(
    net: Any, calibration: Calibration, windows: int, schemes: Mapping[str, Scheme], damping: float
) -> dict[str, tuple[Scheme, Whole]]:
    """The layers of each block by GPTQ; layers outside of blocks to the nearest. The net's weights are overwritten."""
    import torch

    names, made = {one: name for name, one in net.named_modules()}, {}
    for found in walk(net, first(calibration, windows), squares):
        for layer, hessian in found.items():
            scheme = schemes.get(names[layer])
            if scheme is None or not isinstance(layer, torch.nn.Linear):
                continue
            kept = solved(layer.weight, hessian, scheme, damping)
            layer.weight.copy_(kept.weight)
            made[names[layer]] = scheme, kept
    for name, scheme in schemes.items():
        if name not in made:
            made[name] = scheme, nearest(net.get_submodule(name).weight, scheme)
    return made
