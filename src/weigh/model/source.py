"""A model on disk: its format, what it is for, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeAlias

from weigh.choice import UsageError

Format: TypeAlias = Literal["huggingface", "module", "exported", "onnx", "gguf"]
Kind: TypeAlias = Literal["language", "encoder", "classifier"]

SUFFIXES: dict[str, Format] = {
    ".onnx": "onnx", ".pt2": "exported", ".gguf": "gguf", ".safetensors": "module",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output: `type` as ONNX Runtime names it, `shape` with None for what is not fixed."""

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A model that was checked and can be loaded.

    Attributes:
        path: the file, or the folder.
        format: how it is kept.
        kind: what comes out: next-token scores, sentence vectors, or scores (labels, numbers) a row.
        digest: of the content, SHA-256 in hexadecimal digits.
        architecture: ``net.py:build``, for weights alone.
        inputs, outputs: what goes in and comes out, where a row is one example.
    """

    path: Path
    format: Format
    kind: Kind
    digest: str
    architecture: str = ""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()

    @property
    def batch(self) -> int | None:
        """The number of rows that the model insists on; None where any will do."""
        return next((port.shape[0] for port in self.inputs if port.shape and port.shape[0] is not None), None)


def format_of(path: Path) -> Format:
    """How a model is kept, by its name.

    Raises:
        UsageError: nothing there, or nothing that weigh opens.
    """
    if path.is_dir():
        if (path / "config.json").is_file():
            return "huggingface"
        found = sorted(file.name for file in path.iterdir() if file.suffix in SUFFIXES)
        hint = f"name a file in it, such as model={path / found[0]}" if found else "name a file (.onnx, .pt2, .gguf)"
        raise UsageError(f"model={path} is a folder without config.json, so no Hugging Face model; {hint}")
    return SUFFIXES.get(path.suffix, "onnx")


def open_source(path: Path, architecture: str = "", trust: bool = False) -> Source:
    """Check a model and say what it is; with `trust` a pickled one is converted first.

    Raises:
        UsageError: it is missing, damaged, of another format, or holds what is no number; the text says what to type.
    """
    from weigh.model.registry import located

    path = located(path)
    _need_there(path)
    form = format_of(path)
    if architecture and form != "module":
        raise UsageError(
            f"architecture={architecture} builds a net for weights alone, but model={path} holds its own; leave it out"
        )
    if form == "onnx":
        from weigh.model.onnx_file import open_model

        return open_model(path, trust)
    if form == "huggingface":
        from weigh.model.huggingface import describe

        return describe(path)
    if form == "gguf":
        from weigh.model.gguf_file import describe as gguf

        return gguf(path)
    from weigh.model.net import describe_exported, describe_weights

    return describe_exported(path) if form == "exported" else describe_weights(path, architecture)


def _need_there(path: Path) -> None:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"model={path} is no ordinary file; name an .onnx file")
    if path.exists():
        return
    others = path.parent.iterdir() if path.parent.is_dir() else ()
    names = [other.name for other in others if other.is_dir() or other.suffix in SUFFIXES]
    near = get_close_matches(path.name, names, n=1, cutoff=0.4)
    hint = f"did you mean {path.parent / near[0]}?" if near else f"you are in {Path.cwd()}; check the path"
    raise UsageError(f"model={path}: there is no such file; {hint}")


def embeds(source: Source) -> bool:
    """Whether sentence vectors come out of it."""
    return bool(source.outputs) and source.outputs[0].name == "embedding"


def not_numbers(path: Path, name: str, bad: int, count: int) -> str:
    """What is said of a weight with values that are no numbers."""
    return (
        f"model={path}: '{name}' holds {bad:,} values that are NaN or infinite of {count:,}; take an earlier checkpoint"
    )


def reason(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
