"""One stage of a pipeline, opened: its facts, its weights and what it answers, whatever format it is kept in."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.model.source import Format, Source, format_of, open_source
from weigh.parity import facts as told
from weigh.parity.facts import Facts
from weigh.parity.tensors import HEAD, Files, OfModule, Tensors

if TYPE_CHECKING:
    from torch import Tensor

Answer: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""From token ids and their mask, both (n, tokens), to logits (n, tokens, vocabulary) in float32."""


class Stage:
    """A model at one point of a pipeline. Everything is read when it is asked for, and kept but for the module.

    Args:
        path: a Hugging Face folder, or an .onnx, .pt2, .gguf or .safetensors file.
        architecture: ``net.py:build``, for a .safetensors file.

    Raises:
        UsageError: it is missing, damaged, holds NaN, or is of a format that weigh does not open.
    """

    def __init__(self, path: Path | str, architecture: str = "", trust: bool = False) -> None:
        self.path = Path(path)
        self.format: Format = format_of(self.path)
        self.language_file = self.format in ("onnx", "exported") and _answers_tokens(self.path, self.format)
        self.source: Source | None = None
        if self.format == "gguf":
            _ = self._gguf
        elif not self.language_file:
            self.source = open_source(self.path, architecture, trust)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kind(self) -> str:
        """language, encoder or classifier."""
        return "language" if self.source is None else self.source.kind

    @property
    def beside(self) -> Path:
        """The folder in which a tokenizer and a config may lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def facts(self) -> Facts:
        """What it says of itself, `tied.head` included."""
        if self.format == "gguf":
            from weigh.parity import gguf_stage

            found = gguf_stage.facts(self._gguf[1])
        elif self.format == "huggingface":
            found = told.of_folder(self.path, self.tokenizer)
        elif (self.beside / "config.json").is_file() and self.language_file:
            found = told.of_folder(self.beside, self.tokenizer)
        else:
            return {}
        return found | self._tied(found)

    def _tied(self, found: Facts) -> Facts:
        if self.format != "huggingface" or self.kind != "language" or not isinstance(self.tensors, Files):
            return {}
        shared = self.tensors.shared_head
        return {} if shared is None else {"tied.head_is_embedding": shared}

    @cached_property
    def _gguf(self) -> tuple[Any, dict[str, Any]]:
        from weigh.parity import gguf_stage

        reader = gguf_stage.opened(self.path)
        return reader, gguf_stage.values(reader)

    @cached_property
    def bits(self) -> int:
        """Fewest bits a weight of a Hugging Face folder or an ONNX file; 0 where it is not quantized."""
        from weigh.model.huggingface import read_json

        if self.format == "onnx":
            from weigh.parity import onnx_products, onnx_stage

            return onnx_products.bits(onnx_stage.graph_of(self.path).graph)

        said = read_json(self.path / "config.json").get("quantization_config") if self.format == "huggingface" else None
        return _bits(said) if said else 0

    @cached_property
    def tensors(self) -> Tensors | None:
        """Its weights by their Hugging Face names; None where they cannot be told apart by name."""
        if self.format == "gguf":
            from weigh.parity.gguf_stage import GgufTensors

            return GgufTensors(*self._gguf)
        if self.format == "huggingface":
            from weigh.parity import packed_weights

            files = Files(self.path)
            if not self.bits:
                return files
            return packed_weights.opened(self.path) or OfModule(self.module(), self.bits, files)
        if self.format == "onnx":
            from weigh.parity.onnx_stage import OnnxTensors

            return OnnxTensors(self.path)
        return OfModule(self.module(), 0)

    def module(self) -> Any:
        """The torch module, in float32 but for what is quantized.

        Raises:
            Unfit: it is none (ONNX).
        """
        from weigh.model.module import load_module

        if self.format == "exported":
            from weigh.model import archive

            return archive.load(self.path).module()
        if self.format == "gguf":
            from weigh.model import gguf_file
            from weigh.parity import gguf_stage

            assert isinstance(self.tensors, gguf_stage.GgufTensors)
            made = gguf_stage.module(self._gguf[1], self.tensors)
            return gguf_file.load(self.path) if made is None else made
        assert self.source is not None
        return load_module(self.source, "float32")

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer; None where it has none."""
        if self.format == "gguf":
            from weigh.model import gguf_file

            return gguf_file.tokenizer(self.path)
        return told.tokenizer(self.beside)

    def answer(self, module: Any = None) -> Answer:
        """What turns tokens into logits; `module` where it is loaded already."""
        if self.format == "onnx":
            from weigh.parity.onnx_stage import answer

            return answer(self.path)
        return of_module(self.module() if module is None else module, self.format == "exported")


def of_module(module: Any, exported: bool = False) -> Answer:
    """A language model of torch as a function of tokens."""

    def answer(ids: Tensor, mask: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            out = module(ids, mask) if exported else module(input_ids=ids, attention_mask=mask, use_cache=False)
        logits = out if isinstance(out, torch.Tensor) else getattr(out, "logits", None)
        return (out[0] if logits is None else logits).float()

    return answer


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor's name puts it in.

    >>> layer_of("model.layers.12.mlp.up_proj.weight"), layer_of("model.norm.weight")
    (12, None)
    """
    found = re.search(r"(?:layers|layer|h|blocks?)\.(\d+)\.", name)
    return int(found[1]) if found else None


def _bits(said: dict[str, Any]) -> int:
    """Bits a weight, as a quantization_config says; 4 where it does not."""
    for name, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        if said.get(name):
            return bits
    for name in ("bits", "nbits", "w_bit"):
        if isinstance(said.get(name), int):
            return int(said[name])
    groups = [one.get("weights") or {} for one in (said.get("config_groups") or {}).values()]  # compressed-tensors
    if widths := [int(one["num_bits"]) for one in groups if "num_bits" in one]:
        return min(widths)
    found = re.search(r"[iu]?int(\d)|float(\d)|Int(\d)", str(said))
    return int(next(part for part in found.groups() if part)) if found else 4


def _answers_tokens(path: Path, form: Format) -> bool:
    """Whether a file without a config takes token ids and gives a score a token of the vocabulary."""
    if not path.is_file():
        return False
    if form == "onnx":
        from weigh.parity.onnx_stage import takes_tokens

        return takes_tokens(path)
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    import torch

    from weigh.model import archive

    example, named = archive.load(path).example_inputs or ((), {})
    inputs = [*example, *named.values()]
    return bool(inputs) and all(isinstance(one, torch.Tensor) and not one.is_floating_point() for one in inputs)


__all__ = ["HEAD", "Answer", "Stage", "layer_of", "of_module"]
