"""From a source to a torch module, and back to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.model.source import Source, open_source

TORCH = ("huggingface", "module", "exported")


def need_torch(source: Source, who: str) -> None:
    """Raises `Unfit` when a model is no torch module that an option could change."""
    if source.format not in TORCH:
        raise Unfit(
            f"{who} changes torch modules, and this model is {source.format}: give the Hugging Face folder, or the "
            "safetensors and the code that builds the net (architecture=net.py:build), from which it was exported"
        )


def load_module(source: Source, dtype: str = "", attention: str = "sdpa") -> Any:
    """The model as a `torch.nn.Module` in eval mode, without gradients; quantized folders as they say themselves.

    Args:
        dtype: "float32", "bfloat16" or "float16"; what the artefact says (float32 if it says nothing) when empty.
        attention: of a Hugging Face model, "sdpa" or "eager".

    Raises:
        Unfit: it is no torch module (ONNX).
        UsageError: it cannot be loaded.
    """
    if source.format == "huggingface":
        from weigh.model import huggingface

        return huggingface.load(source.path, source.kind, dtype, attention)
    if source.format == "gguf":
        from weigh.model import gguf_file

        return gguf_file.load(source.path, dtype or "float32")
    need_torch(source, "loading as torch")
    from weigh.model import net

    return net.load(source, dtype or "float32")


def load_tokenizer(source: Source) -> Any:
    """The tokenizer that belongs to a model.

    Raises:
        UsageError: there is none.
    """
    if source.format == "gguf":
        from weigh.model import gguf_file

        return gguf_file.tokenizer(source.path)
    from weigh.model import huggingface

    return huggingface.tokenizer(source.path)


def save_module(module: Any, source: Source, folder: Path, compute: str = "") -> Path:
    """Write a module that was made of `source`: a Hugging Face folder, or a .pt2 archive that needs no code.

    Args:
        compute: the numbers that a Hugging Face artefact is to be computed in; those of its weights when empty.

    Returns: what `open_source` opens again.
    """
    if source.format == "huggingface":
        from weigh.model import huggingface

        return huggingface.save(module, source.path, folder, compute)
    from weigh.model import net

    return net.save(module, source, folder / "model.pt2")


def reopened(path: Path, source: Source) -> Source:
    """What an option wrote of `source`, opened."""
    return open_source(path, source.architecture if path.suffix == ".safetensors" else "")
