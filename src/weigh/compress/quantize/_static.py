"""Hugging Face encoders with activations of 8 bits, on ranges that calibration found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.compress.quantize._packing import inner_layers, loaded, nearest, outer_layers, write
from weigh.compress.quantize._ranges import Passes, Ranges
from weigh.model.packed import Scheme
from weigh.model.source import Source
from weigh.model.task import Calibration
from weigh.model.walk import batches, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = 1e-6


def static_folder(
    source: Source, calibration: Calibration, folder: Path, name: str, ranges: Callable[[Passes], Ranges]
) -> Path:
    """Write an encoder whose linear layers multiply whole numbers, each on a range of its own.

    Raises:
        Unfit: it is a language model, or there are no calibration rows.
    """
    if source.kind == "language":
        raise Unfit(
            "a few activations of a language model are hundreds of times larger than the others, so that one frozen "
            "range loses the others: int8_dynamic has a scale a token"
        )
    if not calibration.rows:
        raise Unfit("it looks at what the layers are given, and there are no calibration rows: calibration_rows=200")
    net, scheme = loaded(source, name), Scheme(activations="static")
    layers = inner_layers(net)
    made = {}
    for place, (low, high) in ranges(lambda: _inputs(net, layers, calibration)).items():
        step = max(-float(low), float(high), TINY) / 127
        made[place] = scheme, dataclasses.replace(nearest(layers[place].weight, scheme), inputs=step)
    return write(net, source, folder, {**made, **outer_layers(net)})


def _inputs(net: Any, layers: Mapping[str, Any], calibration: Calibration) -> Iterator[tuple[str, NDArray[Any]]]:
    """What each layer is given, padding left out, batch after batch."""
    import torch

    seen: list[tuple[str, NDArray[Any]]] = []
    mask: Any = None

    def see(name: str, given: torch.Tensor) -> None:
        kept = given[mask.bool()] if mask is not None and given.shape[:2] == mask.shape else given
        seen.append((name, kept.flatten().numpy()))

    hooks = [
        layer.register_forward_pre_hook(lambda _, args, name=name: see(name, args[0])) for name, layer in layers.items()
    ]
    try:
        for feed in batches(calibration):
            mask = feed.get("attention_mask")
            with torch.no_grad():
                run(net, feed)
            yield from seen
            seen.clear()
    finally:
        for hook in hooks:
            hook.remove()
