"""What a LoRA adapter adds to each weight, in float32: the intent that a merge is held to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Update:
    """One matrix's update, scale B A.

    Attributes:
        down, up: A of shape (rank, in) and B of shape (out, rank), float32.
        scale: alpha / rank, or alpha / sqrt(rank) with rank-stabilised LoRA.
    """

    down: Tensor
    up: Tensor
    scale: float

    def delta(self) -> Tensor:
        """What is added to the weight, shape (out, in)."""
        return self.scale * (self.up @ self.down)

    def noise(self) -> Tensor:
        """A bound on the rounding of `delta` in float32, element by element."""
        terms = self.down.shape[0] + 2
        return abs(self.scale) * terms * 2.0**-23 * (self.up.abs() @ self.down.abs())


def read(folder: Path) -> dict[str, Update]:
    """Updates by the name of the weight that they are added to.

    Source: Hu et al. (arXiv 2106.09685); rank-stabilised: Kalajdzievski (2312.03732); the files are PEFT's.

    Raises:
        UsageError: no adapter is there, or it is of a kind other than plain LoRA.
    """
    config = _config(folder)
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors")
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        part = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])(?:\.\w+)?\.weight", name)
        if part is None:
            raise UsageError(f"adapter={folder} holds {name}, which plain LoRA has not; merge it and use kind `copy`")
        found.setdefault(part[1], {})[part[2]] = value.float()
    return {f"{name}.weight": _update(name, parts, config) for name, parts in found.items()}


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "adapter_config.json"
    if not file.is_file() or not (folder / "adapter_model.safetensors").is_file():
        raise UsageError(
            f"adapter={folder} is no LoRA adapter: it has no adapter_config.json with adapter_model.safetensors; name "
            "the folder that PEFT saved"
        )
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for name in ("use_dora", "fan_in_fan_out", "modules_to_save", "lora_bias"):
        if config.get(name):
            raise UsageError(f"adapter={folder} has {name} set, which parity cannot work out; it reads plain LoRA")
    return config


def _update(name: str, parts: dict[str, Tensor], config: dict[str, Any]) -> Update:
    rank = parts["A"].shape[0]
    alpha = float(_by_pattern(config.get("alpha_pattern") or {}, name, config.get("lora_alpha", rank)))
    return Update(parts["A"], parts["B"], alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _by_pattern(patterns: dict[str, Any], name: str, default: Any) -> Any:
    return next((value for key, value in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", name)), default)


def applied(module: Any, updates: dict[str, Update]) -> Any:
    """The module with its adapter beside each matrix, y + scale B (A x), in float32 and not merged."""
    for name, update in updates.items():
        module.get_submodule(name.removesuffix(".weight")).register_forward_hook(_beside(update))
    return module


def _beside(update: Update) -> Any:
    def hook(part: Any, given: tuple[Any, ...], out: Any) -> Any:
        return out + update.scale * ((given[0].float() @ update.down.T) @ update.up.T)

    return hook
