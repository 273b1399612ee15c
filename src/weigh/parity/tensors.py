"""The weights of a stage by the names of its Hugging Face model, read as float32, whatever they are kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

if TYPE_CHECKING:
    from torch import Tensor, nn

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class Tensors(ABC):
    """Named weights. A head that is tied is there under its own name too."""

    complete: ClassVar[bool] = True
    """Whether a tensor that is not among the names is not in the model."""

    @property
    def shared(self) -> bool:
        """Whether the head is the embedding and not kept itself."""
        return False

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Every name that can be read."""

    @abstractmethod
    def get(self, name: str) -> Tensor:
        """The tensor as float32."""

    @abstractmethod
    def kept(self, name: str) -> tuple[str, int]:
        """The float type that it is kept in (``float32``, ...), or ``""`` and the bits a weight if quantized."""

    def used(self, name: str) -> int:
        """The bits that a quantized tensor's numbers make use of: fewer than it is kept in if a range was reduced."""
        return self.kept(name)[1]


@final
class Files(Tensors):
    """Float weights in safetensors files."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._where: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened = safe_open(path, framework="pt")
            self._where |= {name: opened for name in opened.keys() if not _follows(name, opened)}  # noqa: SIM118
        self._alias = {HEAD: EMBEDDING} if EMBEDDING in self._where and HEAD not in self._where else {}

    @property
    def shared(self) -> bool:
        return bool(self._alias)

    @property
    def shared_head(self) -> bool | None:
        """Whether the head is the embedding (left out of the files, or equal); None where there is no embedding."""
        if EMBEDDING not in self._where:
            return None
        return HEAD in self._alias or bool((self.get(HEAD) == self.get(EMBEDDING)).all())

    def names(self) -> Sequence[str]:
        return [*self._where, *self._alias]

    def raw(self, name: str) -> Tensor:
        """The tensor in the type that it is kept in."""
        name = self._alias.get(name, name)
        tensor: Tensor = self._where[name].get_tensor(name)
        return tensor

    def get(self, name: str) -> Tensor:
        return self.raw(name).float()

    def kept(self, name: str) -> tuple[str, int]:
        name = self._alias.get(name, name)
        kind = str(self._where[name].get_slice(name).get_dtype())
        return {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}.get(kind, kind), 0


def _follows(name: str, opened: Any) -> bool:
    """Whether a tensor is no weight but follows from the config, so that writers may leave it out.

    Numbers of positions (0, 1, 2, ...) and the frequencies of rotary positions do.
    """
    import torch

    if name.endswith("rotary_emb.inv_freq"):
        return True
    if opened.get_slice(name).get_dtype() not in ("I64", "I32"):
        return False
    flat = opened.get_tensor(name).flatten()
    return flat.numel() > 1 and bool((flat == torch.arange(flat.numel())).all())


@final
class OfModule(Tensors):
    """Weights of a module, quantized ones as it uses them: by what a matrix makes of unit vectors.

    Args:
        bits: of a quantized weight.
        files: where the module was loaded from, for the types that its floats are kept in there.
    """

    def __init__(self, module: nn.Module, bits: int, files: Files | None = None) -> None:
        from torch import nn

        self._bits, self._module = bits, module
        there = set(files.names()) if files else set()
        names: dict[str, Callable[[], Tensor]] = {}
        for prefix, part in module.named_modules():
            for name, value in part.named_parameters(recurse=False):
                full = f"{prefix}.{name}" if prefix else name
                plain = type(value) in (nn.Parameter,) and value.is_floating_point() and value.dim() != 0
                plain = plain and type(value.data).__name__ == "Tensor"
                names[full] = value.detach if plain else self._probe(part, value)
            packed = "weight" not in {name for name, _ in part.named_parameters(recurse=False)}
            if packed and (hasattr(part, "in_features") or hasattr(part, "num_embeddings")):
                names[f"{prefix}.weight"] = self._probe(part, None)
        self._read = names
        if HEAD not in names and EMBEDDING in names:
            names[HEAD] = names[EMBEDDING]
        plain = [name for name, read in names.items() if getattr(read, "__name__", "") == "detach"]
        self._plain = {
            name: files.kept(name)[0] if files and name in there else str(names[name]().dtype).removeprefix("torch.")
            for name in plain
        }

    @staticmethod
    def _probe(part: nn.Module, value: Any) -> Callable[[], Tensor]:
        def read() -> Tensor:
            import torch

            if type(value).__module__.partition(".")[0] in ("torchao", "optimum"):
                return torch.as_tensor(value.dequantize()).float()
            with torch.inference_mode():
                if hasattr(part, "num_embeddings"):
                    return part(torch.arange(int(part.num_embeddings))).float()  # type: ignore[arg-type]
                eye = torch.eye(int(part.in_features))  # type: ignore[arg-type]
                bias = getattr(part, "bias", None)
                out = part(eye)
                return (out - bias if bias is not None else out).T.float().contiguous()

        return read

    def names(self) -> Sequence[str]:
        return list(self._read)

    def get(self, name: str) -> Tensor:
        return self._read[name]().float()

    def kept(self, name: str) -> tuple[str, int]:
        if name not in self._plain:
            return "", self._bits
        return self._plain[name], 0
