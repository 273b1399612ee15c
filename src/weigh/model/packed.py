"""Hugging Face folders whose weights are whole numbers of 4 or 8 bits, in the layout of compressed-tensors.

Torch's own CPU kernels compute on them here (`weigh.model.packed_layers`). Elsewhere, transformers 5.23 with
compressed-tensors 0.20 reads the folders of 8 bits whose embedding is not packed; of those of 4 bits it packs and
unpacks the same bytes, but its loader makes no room for packed zero points.

Source: https://github.com/vllm-project/compressed-tensors, formats `pack-quantized` and `int-quantized`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weigh.choice import UsageError
from weigh.model.imports import transformers

if TYPE_CHECKING:
    import torch

METHOD = "compressed-tensors"
OWN = "weigh-packed"
Activations: TypeAlias = Literal["float", "dynamic", "tensor", "static"]
SUPPORTED = "whole numbers of 8 bits with a scale a row, or of 4 bits with a scale a group of columns"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one layer is kept.

    Attributes:
        bits: of a weight, 4 or 8.
        group: neighbouring columns that share a scale; 0 for all of a row.
        symmetric: zero is at the middle; otherwise each group has a zero point.
        activations: "float"; "dynamic" (8 bits, a scale a token, found as it comes) or "tensor" (a scale a batch);
            "static" (8 bits, one scale found by calibration).
    """

    bits: int = 8
    group: int = 0
    symmetric: bool = True
    activations: Activations = "float"

    @property
    def format(self) -> str:
        """The name of its layout."""
        return "pack-quantized" if self.activations == "float" else "int-quantized"

    def described(self, names: list[str]) -> dict[str, Any]:
        """As a group of `quantization_config`."""
        weights = {
            "num_bits": self.bits, "type": "int", "symmetric": self.symmetric, "dynamic": False,
            "strategy": "group" if self.group else "channel", "group_size": self.group or None,
        }  # fmt: skip
        inputs = None
        if self.activations != "float":
            inputs = {
                "num_bits": 8, "type": "int", "symmetric": True, "dynamic": self.activations != "static",
                "strategy": "token" if self.activations == "dynamic" else "tensor",
            }  # fmt: skip
        return {"targets": names, "weights": weights, "input_activations": inputs, "format": self.format}


def described(schemes: Mapping[str, Scheme], others: list[str]) -> dict[str, Any]:
    """The `quantization_config` of a model whose layers of these names are packed and whose `others` are not."""
    groups: dict[Scheme, list[str]] = {}
    for name, scheme in schemes.items():
        groups.setdefault(scheme, []).append(name)
    formats = {scheme.format for scheme in groups}
    return {
        "quant_method": METHOD,
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": {f"group_{i}": one.described(names) for i, (one, names) in enumerate(groups.items())},
        "ignore": others,
    }


def schemes_in(config: Mapping[str, Any], folder: Path) -> dict[str, Scheme]:
    """The scheme of each layer that a `quantization_config` names.

    Raises:
        UsageError: it describes what weigh's kernels do not compute.
    """
    found: dict[str, Scheme] = {}
    for group in config.get("config_groups", {}).values():
        scheme = _scheme(group, folder)
        found.update(dict.fromkeys(group["targets"], scheme))
    return found


def _scheme(group: Mapping[str, Any], folder: Path) -> Scheme:
    weights, inputs = group["weights"], group.get("input_activations")
    activations: Activations = "float"
    if inputs:
        activations = "static" if not inputs["dynamic"] else "dynamic" if inputs["strategy"] == "token" else "tensor"
    named = all(not name.startswith("re:") and name != "Linear" for name in group["targets"])
    known = (weights["type"], weights["num_bits"], weights["strategy"]) in (("int", 8, "channel"), ("int", 4, "group"))
    if not known or not named:
        raise UsageError(f"model={folder} is packed in a way that weigh does not compute: it takes {SUPPORTED}, with "
                         "each layer named; give the model from before it was quantized")  # fmt: skip
    return Scheme(weights["num_bits"], weights.get("group_size") or 0, weights["symmetric"], activations)


def packed_bits(whole: torch.Tensor, bits: int) -> torch.Tensor:
    """Signed whole numbers, int8, (rows, columns), as int32 words, (rows, columns x bits / 32), low bits first.

    The numbers are shifted to be positive; a row is filled up to a whole word.
    """
    import torch

    each = 32 // bits
    short = -whole.shape[1] % each
    shifted = torch.nn.functional.pad(whole.to(torch.int64) + 2 ** (bits - 1), (0, short))
    words = shifted.reshape(len(whole), -1, each) << (torch.arange(each) * bits)
    total = words.sum(-1)
    return torch.where(total >= 2**31, total - 2**32, total).to(torch.int32)


def unpacked_bits(words: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    """What `packed_bits` packed, int8, shape (rows, columns)."""
    import torch

    if bits == 8:
        return (words.contiguous().view(torch.uint8) ^ 128).view(torch.int8)[:, :columns]
    pairs = words.contiguous().view(torch.uint8)
    both = torch.stack([pairs & 15, pairs >> 4], -1).reshape(len(words), -1)
    return (both.to(torch.int8) - 8)[:, :columns]


def is_packed(config: Mapping[str, Any]) -> bool:
    """Whether a config is that of a packed folder."""
    return (config.get("quantization_config") or {}).get("quant_method") == METHOD


def load(folder: Path, maker: Any, config: Mapping[str, Any], attention: str, dtype: str) -> Any:
    """The net, its packed layers ready for torch's kernels, and what transformers says of loading it.

    Args:
        maker: the Auto class of transformers.

    Raises:
        UsageError: it is packed otherwise than weigh can compute.
        ValueError, OSError, RuntimeError: transformers cannot load it.
    """
    import torch

    schemes = schemes_in(config["quantization_config"], folder)
    told = transformers("AutoConfig").from_pretrained(folder, local_files_only=True)
    del told.quantization_config
    return maker.from_pretrained(
        folder, config=told, quantization_config=_own_config()(schemes), dtype=getattr(torch, dtype),
        local_files_only=True, trust_remote_code=False, use_safetensors=True, attn_implementation=attention,
        output_loading_info=True,
    )  # fmt: skip


@functools.cache
def _own_config() -> Any:
    """The class by which transformers knows weigh's loader; made and registered once."""
    from transformers.quantizers.auto import register_quantization_config, register_quantizer
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    from weigh.model.packed_layers import settle, swap_in

    @register_quantization_config(OWN)
    class PackedConfig(QuantizationConfigMixin):
        def __init__(self, schemes: Mapping[str, Scheme]) -> None:
            self.quant_method: Any = OWN
            self.schemes = schemes

        def to_dict(self) -> dict[str, Any]:
            return described(self.schemes, [])

    @register_quantizer(OWN)
    class PackedQuantizer(HfQuantizer):
        is_trainable = False
        quantization_config: Any

        def __init__(self, quantization_config: Any, **rest: Any) -> None:
            super().__init__(quantization_config, **{**rest, "pre_quantized": True})

        def is_serializable(self) -> bool:
            return False

        def _process_model_before_weight_loading(self, model: Any, **rest: Any) -> None:
            self._tied = swap_in(model, self.quantization_config.schemes)

        def _process_model_after_weight_loading(self, model: Any, **rest: Any) -> None:
            settle(model, self.quantization_config.schemes, self._tied)

    return PackedConfig
