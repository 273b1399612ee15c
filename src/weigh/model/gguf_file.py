"""GGUF files, as llama.cpp runs them: checked, and read back into a torch module."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from weigh.choice import UsageError
from weigh.data.cache import cache_folder
from weigh.model import gguf_header
from weigh.model.artefact import digest
from weigh.model.huggingface import quiet, read_json
from weigh.model.imports import hushed, transformers
from weigh.model.source import Port, Source, not_numbers, reason


def describe(path: Path) -> Source:
    """Check the header and that every tensor that it names lies within the file.

    Raises:
        UsageError: it is no GGUF file, or cut off; or gguf is not installed.
    """
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UsageError(
            f"model={path} is a GGUF file, and gguf is not installed: pip install 'weigh[runtimes]'"
        ) from None
    try:
        gguf_header.check(path)
        reader = GGUFReader(path)
        vocabulary = next(
            (len(t.shape) and int(t.shape[-1]) for t in reader.tensors if t.name == "token_embd.weight"), 0
        )
    except Exception as error:  # the reader raises whatever parsing noise gives
        raise UsageError(
            f"model={path} is no whole GGUF file ({type(error).__name__}: {reason(error)}): it has "
            f"{path.stat().st_size:,} bytes; copy it again"
        ) from None
    _need_numbers(path, reader)
    ports = (Port("input_ids", "tensor(int64)", (None, None)),)
    logits = Port("logits", "tensor(float)", (None, None, vocabulary))
    return Source(path, "gguf", "language", digest(path), inputs=ports, outputs=(logits,))


def _need_numbers(path: Path, reader: Any) -> None:
    """Raises `UsageError` when a weight in floating point is NaN or infinite; packed blocks are not unpacked for it."""
    import numpy as np

    for tensor in reader.tensors:
        values = tensor.data
        if tensor.tensor_type.name == "BF16":
            values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if values.dtype.kind == "f" and (bad := int((~np.isfinite(values)).sum())):
            raise UsageError(not_numbers(path, tensor.name, bad, values.size))


def as_folder(source: Source) -> Path:
    """The numbers that it holds as a Hugging Face folder in bfloat16, in the user's cache; made once.

    Raises:
        UsageError: it holds no Llama, or what transformers cannot read.
    """
    from weigh.data._folder import whole_folder

    path = source.path
    try:
        return whole_folder(cache_folder() / "models" / f"gguf-{source.digest[:32]}", lambda to: _written(path, to))
    except (ValueError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"model={path} cannot be read back into torch ({reason(error)}): give the Hugging Face folder that it was "
            "made of; as it is, it serves in serve/runtime"
        ) from None


def _written(path: Path, folder: Path) -> None:
    from weigh.data import _gguf

    with quiet(), redirect_stderr(io.StringIO()):  # a bar of progress that transformers cannot be told to leave out
        _gguf.convert(path, folder)
    _drop_strangers(folder)


def _drop_strangers(folder: Path) -> None:
    """Leave out tokens beyond the model's: transformers adds an <|endoftext|> of its own to every GPT-2 tokenizer."""
    size = read_json(folder / "config.json")["vocab_size"]
    file = folder / "tokenizer.json"
    told = read_json(file) if file.is_file() else {}
    added = told.get("added_tokens") or []
    if any(one["id"] >= size for one in added):
        kept = [one for one in added if one["id"] < size]
        file.write_text(json.dumps(told | {"added_tokens": kept}, ensure_ascii=False), encoding="utf-8")


def load(path: Path, dtype: str = "float32") -> Any:
    """The model as transformers reads it, its numbers dequantized."""
    import torch

    with hushed():
        net = transformers("AutoModelForCausalLM").from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, dtype), local_files_only=True
        )
    return net.eval().requires_grad_(False)


def tokenizer(path: Path) -> Any:
    """The tokenizer that the file holds."""
    with hushed():
        maker = transformers("AutoTokenizer")
        return maker.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
