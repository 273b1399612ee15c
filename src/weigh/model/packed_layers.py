"""Layers that compute on packed weights with the CPU kernels that torch has for them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weigh.model.packed import Scheme, packed_bits, unpacked_bits

if TYPE_CHECKING:
    import torch

FEW = 16
"""Rows up to which the kernel for weights of 8 bits is faster than casting them and multiplying."""
TINY = 1e-8


def tensors_of(
    whole: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None, scheme: Scheme, inputs: float | None = None
) -> dict[str, torch.Tensor]:
    """The tensors by which one packed layer is kept.

    Args:
        whole: weights as whole numbers, int8, shape (rows, columns).
        scale: shape (rows, groups); a weight is (whole - zero) x scale.
        zero: int8, shape (rows, groups), where the scheme is not symmetric.
        inputs: scale of the activations, where they are static.
    """
    import torch

    kept = {"weight_scale": scale.to(torch.bfloat16).contiguous()}
    if scheme.activations != "float":
        more = {} if inputs is None else {"input_scale": torch.tensor([inputs])}
        return {**kept, "weight": whole.contiguous(), "weight_scale": scale.float().contiguous(), **more}
    kept["weight_packed"] = packed_bits(whole, scheme.bits)
    kept["weight_shape"] = torch.tensor(whole.shape)
    if zero is not None:
        kept["weight_zero_point"] = packed_bits(zero.T.contiguous(), scheme.bits).T.contiguous()
    return kept


@functools.cache
def classes() -> tuple[Any, Any]:
    """The packed linear layer and the packed embedding; made once torch is wanted."""
    import torch

    class PackedLinear(torch.nn.Module):
        """What takes the place of `torch.nn.Linear`."""

        whole: torch.Tensor
        words: torch.Tensor
        scale: torch.Tensor
        input_scale: torch.Tensor | None

        def __init__(self, rows: int, columns: int, scheme: Scheme, bias: Any) -> None:
            super().__init__()
            self.out_features, self.in_features, self.scheme, self.bias = rows, columns, scheme, bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = x.reshape(-1, x.shape[-1]).contiguous()
            if self.scheme.activations != "float":
                out = _whole_products(flat, self.whole, self.scale, self.scheme.activations, self.input_scale)
            elif self.scheme.bits == 4:
                kernel = torch._weight_int4pack_mm_for_cpu
                out = kernel(flat.to(torch.bfloat16), self.words, self.scheme.group, self.scale)
            else:
                out = _weights_of_8_bits(flat.to(torch.bfloat16), self.whole, self.scale)
            out = out.to(x.dtype) if self.bias is None else out.to(x.dtype) + self.bias
            return out.view(*x.shape[:-1], self.out_features)

    class PackedEmbedding(torch.nn.Module):
        """What takes the place of `torch.nn.Embedding`."""

        whole: torch.Tensor
        scale: torch.Tensor
        scheme: Scheme

        def __init__(self, rows: int, columns: int, scheme: Scheme) -> None:
            super().__init__()
            self.num_embeddings, self.embedding_dim, self.scheme = rows, columns, scheme

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            scale = torch.nn.functional.embedding(ids, self.scale.unsqueeze(1))
            return torch.nn.functional.embedding(ids, self.whole).to(scale.dtype) * scale

    return PackedLinear, PackedEmbedding


def _weights_of_8_bits(x: torch.Tensor, whole: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    import torch

    if len(x) <= FEW:
        return torch._weight_int8pack_mm(x, whole, scale)
    return torch.nn.functional.linear(x, whole.to(x.dtype)) * scale


def _whole_products(
    x: torch.Tensor, whole: torch.Tensor, scale: torch.Tensor, activations: str, fixed: torch.Tensor | None
) -> torch.Tensor:
    """Products of whole numbers of 8 bits, summed in 32: activations are rounded with a scale a token or a batch."""
    import torch

    if activations == "static":
        assert fixed is not None
        steps = torch.round(x * (1.0 / fixed)).clamp_(-127, 127)
        return torch._int_mm(steps.to(torch.int8), whole.t()) * (scale * fixed)
    size = x.abs().amax(-1, keepdim=True) if activations == "dynamic" else x.abs().amax().reshape(1, 1)
    step = size.float().clamp_min_(TINY).div_(127)
    steps = torch.round(x / step)
    return torch._int_mm(steps.to(torch.int8), whole.t()).float().mul_(step).mul_(scale)


def _declare(layer: Any, scheme: Scheme, rows: int, columns: int) -> None:
    """Places for the tensors of a file."""
    import torch

    groups = columns // scheme.group if scheme.group else 1

    def place(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        empty = torch.empty(shape, dtype=dtype, device="meta")
        layer.register_parameter(name, torch.nn.Parameter(empty, requires_grad=False))

    if scheme.activations == "float":
        place("weight_packed", (rows, -(-columns * scheme.bits // 32)), torch.int32)
        place("weight_scale", (rows, groups), torch.bfloat16)
        place("weight_shape", (2,), torch.int64)
        if not scheme.symmetric:
            place("weight_zero_point", (-(-rows * scheme.bits // 32), groups), torch.int32)
        return
    place("weight", (rows, columns), torch.int8)
    place("weight_scale", (rows, groups), torch.float32)
    if scheme.activations == "static":
        place("input_scale", (1,), torch.float32)


def swap_in(model: Any, schemes: Mapping[str, Scheme]) -> str:
    """Put packed layers, still empty, in the place of the ordinary ones of these names.

    Returns: the name of the output layer if it is tied to an embedding that is packed; it is left out until `settle`.
    """
    import torch

    linear, table = classes()
    outer, inner = model.get_output_embeddings(), model.get_input_embeddings()
    tied = ""
    if outer is not None and model.config.tie_word_embeddings and _name_of(model, inner) in schemes:
        tied = _name_of(model, outer)
        model.all_tied_weights_keys.pop(f"{tied}.weight", None)
        model.set_submodule(tied, torch.nn.Identity())
    for name, module in [(name, module) for name, module in model.named_modules() if name in schemes and name != tied]:
        rows, columns = module.weight.shape
        bias = getattr(module, "bias", None)
        embeds = isinstance(module, torch.nn.Embedding)
        made = table(rows, columns, schemes[name]) if embeds else linear(rows, columns, schemes[name], bias)
        _declare(made, schemes[name], rows, columns)
        model.set_submodule(name, made)
    return tied


def _name_of(model: Any, wanted: Any) -> str:
    return next(name for name, module in model.named_modules() if module is wanted)


def settle(model: Any, schemes: Mapping[str, Scheme], tied: str) -> None:
    """Bring the weights that were loaded into the form that the kernels take."""
    linear, table = classes()
    for module in list(model.modules()):
        if isinstance(module, (linear, table)):
            _settle(module)
    if not tied:
        return
    inner = model.get_input_embeddings()
    head = linear(inner.num_embeddings, inner.embedding_dim, schemes.get(tied, inner.scheme), None)
    head.input_scale = None
    head.register_buffer("whole", inner.whole)
    head.register_buffer("scale", inner.scale if head.scheme.activations == "float" else inner.scale.float())
    model.set_submodule(tied, head)


def _settle(layer: Any) -> None:
    import torch

    loaded = {name: getattr(layer, name).data for name in list(layer._parameters) if name != "bias"}
    for name in loaded:
        delattr(layer, name)
    layer.input_scale = None
    if layer.scheme.activations != "float":
        layer.register_buffer("whole", loaded["weight"])
        layer.register_buffer("scale", loaded["weight_scale"].flatten())
        if "input_scale" in loaded:
            del layer.input_scale
            layer.register_buffer("input_scale", loaded["input_scale"])
        return
    rows, columns = loaded["weight_shape"].tolist()
    whole = unpacked_bits(loaded["weight_packed"], layer.scheme.bits, columns)
    if layer.scheme.bits == 8:
        layer.register_buffer("whole", whole.contiguous())
        layer.register_buffer("scale", loaded["weight_scale"].flatten())
        return
    layer.register_buffer("words", torch._convert_weight_to_int4pack_for_cpu((whole + 8).to(torch.int32), 1))
    scale, zero = loaded["weight_scale"], torch.zeros_like(loaded["weight_scale"])
    if "weight_zero_point" in loaded:
        points = unpacked_bits(loaded["weight_zero_point"].T.contiguous(), 4, rows).T
        zero = (-points.float() * scale.float()).to(zero.dtype)
    layer.register_buffer("scale", torch.stack([scale.T, zero.T], -1).contiguous())
