"""Weights of folders that weigh packed, read from their files: what is kept, not what a kernel makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from weigh.choice import UsageError
from weigh.model.huggingface import read_json
from weigh.model.packed import Scheme, is_packed, schemes_in, unpacked_bits
from weigh.parity.tensors import EMBEDDING, HEAD, Files, Tensors

if TYPE_CHECKING:
    from torch import Tensor

_PARTS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "input_scale")


def opened(folder: Path) -> PackedTensors | None:
    """The weights of a packed folder; None where it is packed otherwise than weigh packs, or not at all."""
    config = read_json(folder / "config.json")
    if not is_packed(config):
        return None
    try:
        schemes = schemes_in(config["quantization_config"], folder)
    except UsageError:
        return None
    return PackedTensors(Files(folder), schemes)


@final
class PackedTensors(Tensors):
    """Whole numbers times their scales, and beside them what is kept as floats, by the names of the model before."""

    def __init__(self, files: Files, schemes: dict[str, Scheme]) -> None:
        there = set(files.names())
        kinds = {f"{stem}.weight": one for stem, one in schemes.items() if f"{stem}.weight_scale" in there}
        parts = {f"{stem}.{part}" for stem in schemes for part in _PARTS}
        self._files, self._schemes = files, kinds
        self._names = [*kinds, *(name for name in files.names() if name not in parts and name not in kinds)]
        self._alias = {HEAD: EMBEDDING} if EMBEDDING in self._names and HEAD not in self._names else {}

    @property
    def shared(self) -> bool:
        return bool(self._alias)

    def names(self) -> Sequence[str]:
        return [*self._names, *self._alias]

    def get(self, name: str) -> Tensor:
        name = self._alias.get(name, name)
        if name not in self._schemes:
            return self._files.get(name)
        scheme, scale = self._schemes[name], self._files.get(f"{name}_scale")
        if scheme.activations != "float":
            return self._files.get(name) * scale
        rows, columns = self._files.raw(f"{name}_shape").tolist()
        moved = unpacked_bits(self._files.raw(f"{name}_packed"), scheme.bits, columns).float()
        each = columns // scale.shape[1]
        if not scheme.symmetric:
            points = unpacked_bits(self._files.raw(f"{name}_zero_point").T.contiguous(), scheme.bits, rows).T
            moved = moved - points.float().repeat_interleave(each, 1)
        return moved * scale.repeat_interleave(each, 1)

    def kept(self, name: str) -> tuple[str, int]:
        name = self._alias.get(name, name)
        return ("", self._schemes[name].bits) if name in self._schemes else self._files.kept(name)
