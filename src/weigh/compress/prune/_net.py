"""Opening a net to prune it, and writing it again in the numbers that it was kept in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.model.module import load_module, need_torch, save_module
from weigh.model.source import Source


def opened(source: Source, who: str) -> Any:
    """The net in float32, in memory of its own.

    Raises:
        Unfit: it is no torch module, or its weights are quantized.
    """
    need_torch(source, who)
    if source.format == "huggingface":
        from weigh.model.huggingface import read_json

        if "quantization_config" in read_json(source.path / "config.json"):
            raise Unfit(
                f"{who} changes weights that are plain numbers, and those of {source.path.name} are quantized: prune "
                "first, then quantize (compress/combine does both)"
            )
    net = load_module(source, "float32")
    if source.format == "exported":
        from weigh.compress.prune._lifted import lifted

        return lifted(net)
    return net


def written(net: Any, source: Source, folder: Path) -> Path:
    """The artefact, stored and computed in the same numbers as the original, so that only what was pruned differs."""
    if source.format != "huggingface":
        return save_module(net, source, folder)
    from weigh.model.huggingface import computed_in

    return save_module(net.to(stored(source)), source, folder, compute=computed_in(source.path))


def stored(source: Source) -> Any:
    """The torch dtype that most numbers of a Hugging Face folder are kept in."""
    import torch
    from safetensors import safe_open

    from weigh.model.huggingface import weight_files

    sizes: dict[str, int] = {}
    for file in weight_files(source.path):
        with safe_open(file, framework="pt") as archive:
            for name in archive.keys():  # noqa: SIM118 (it is no mapping)
                part = archive.get_slice(name)
                sizes[part.get_dtype()] = sizes.get(part.get_dtype(), 0) + math.prod(part.get_shape())
    kinds = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    return kinds.get(max(sizes, key=lambda name: sizes[name]), torch.float32)
