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


@final
class Files(Tensors):
    """Float weights in safetensors files."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self._where: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened = safe_open(path, framework="pt")
            self._where |= dict.fromkeys(opened.keys(), opened)
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

    def get(self, name: str) -> Tensor:
        import torch

        name = self._alias.get(name, name)
        tensor: Tensor = self._where[name].get_tensor(name)
        return tensor.to(torch.float32)

    def kept(self, name: str) -> tuple[str, int]:
        name = self._alias.get(name, name)
        kind = str(self._where[name].get_slice(name).get_dtype())
        return {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}.get(kind, kind), 0


@final
class OfModule(Tensors):
    """Weights of a module, quantized ones as it uses them: by what a matrix makes of unit vectors."""

    def __init__(self, module: nn.Module, bits: int) -> None:
        from torch import nn

        self._bits, self._module = bits, module
        names: dict[str, Callable[[], Tensor]] = {}
        for prefix, part in module.named_modules():
            for name, value in part.named_parameters(recurse=False):
                full = f"{prefix}.{name}" if prefix else name
                plain = type(value) in (nn.Parameter,) and value.is_floating_point() and value.dim() != 0
                plain = plain and type(value.data).__name__ == "Tensor"
                names[full] = value.detach if plain else self._probe(part, value)
            packed = not any(True for _ in part.parameters(recurse=False))
            if packed and (hasattr(part, "in_features") or hasattr(part, "num_embeddings")):
                names[f"{prefix}.weight"] = self._probe(part, None)
        self._read = names
        if HEAD not in names and EMBEDDING in names:
            names[HEAD] = names[EMBEDDING]
        self._plain = {name for name, read in names.items() if getattr(read, "__name__", "") == "detach"}

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
        return str(self._read[name]().dtype).removeprefix("torch."), 0
