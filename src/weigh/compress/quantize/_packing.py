"""Weights as whole numbers: rounding them, and writing a Hugging Face folder that keeps them so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from weigh.choice import Needs, Unfit
from weigh.model.huggingface import COMPUTE, companions
from weigh.model.packed import Scheme, described
from weigh.model.source import Source

if TYPE_CHECKING:
    import torch

TINY = 1e-12
NEEDS = Needs(packages=("torch>=2.13", "transformers>=5.23", "safetensors>=0.8"), extra="compress")
ROWS = 16
"""Torch's kernel for weights of 4 bits takes layers of so many outputs, or a multiple."""
EMBEDDINGS: bool = Field(
    True,
    description="of a language model or an encoder: keep its table of tokens (and the output layer) in 8 bits too; "
    "false leaves them in bfloat16, as other readers of compressed-tensors want them",
)

Group: TypeAlias = Annotated[
    Literal[32, 64, 128, 256],
    BeforeValidator(lambda given: int(given) if isinstance(given, str) and given.isdigit() else given),
    Field(description="neighbouring inputs that share a scale and a zero point: fewer lose less and take more room"),
]


@dataclass(frozen=True, slots=True)
class Whole:
    """A weight of shape (rows, columns) as whole numbers: (numbers - zero) x scale.

    Attributes:
        numbers: int8, (rows, columns).
        scale: float, (rows, groups).
        zero: int8, (rows, groups); None for zero in the middle.
        inputs: the scale of the layer's activations, where they are static.
    """

    numbers: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor | None = None
    inputs: float | None = None

    @property
    def weight(self) -> torch.Tensor:
        """The weight that they stand for, float32."""
        each = self.numbers.shape[1] // self.scale.shape[1]
        moved = self.numbers.float()
        if self.zero is not None:
            moved = moved - self.zero.float().repeat_interleave(each, 1)
        return moved * self.scale.float().repeat_interleave(each, 1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The steps that weights are rounded to, a group of columns each: shapes (rows, groups)."""

    scale: torch.Tensor
    zero: torch.Tensor | None
    bits: int

    def rounded(self, weight: torch.Tensor, group: int) -> torch.Tensor:
        """The nearest whole numbers of some columns, all of one group."""
        import torch

        most = 2 ** (self.bits - 1) - 1
        least = -most if self.zero is None else -most - 1
        steps = weight / self.scale[:, group, None]
        if self.zero is not None:
            steps = steps + self.zero[:, group, None]
        return torch.round(steps).clamp_(least, most)


def grid(weight: torch.Tensor, scheme: Scheme) -> Grid:
    """The grid that holds every weight of each group, its scales as they are kept.

    Raises:
        Unfit: the groups do not divide the columns.
    """
    import torch

    each = scheme.group or weight.shape[1]
    if weight.shape[1] % each:
        raise Unfit(_undivided(weight.shape[1], each))
    parts = weight.float().reshape(len(weight), -1, each)
    kept = torch.bfloat16 if scheme.activations == "float" else torch.float32
    if scheme.symmetric:
        scale = parts.abs().amax(-1) / (2 ** (scheme.bits - 1) - 1)
        return Grid(scale.to(kept).float().clamp_min(TINY), None, scheme.bits)
    low, high = parts.amin(-1).clamp_max(0), parts.amax(-1).clamp_min(0)
    scale = ((high - low) / (2**scheme.bits - 1)).to(kept).float().clamp_min(TINY)
    least = -(2 ** (scheme.bits - 1))
    return Grid(scale, torch.round(least - low / scale).clamp_(least, -least - 1), scheme.bits)


def _undivided(columns: int, each: int) -> str:
    fitting = [size for size in (256, 128, 64, 32) if columns % size == 0]
    hint = f"type group={fitting[0]}" if fitting else "no size fits it: take int8_weights"
    return f"a layer has {columns} inputs, which groups of {each} do not divide: {hint}"


def nearest(weight: torch.Tensor, scheme: Scheme) -> Whole:
    """Every weight as the nearest number of its grid."""
    import torch

    steps = grid(weight, scheme)
    each = scheme.group or weight.shape[1]
    parts = [steps.rounded(part, place) for place, part in enumerate(weight.float().split(each, 1))]
    return whole(torch.cat(parts, 1), steps)


def whole(numbers: torch.Tensor, steps: Grid) -> Whole:
    """Whole numbers on their grid."""
    import torch

    return Whole(numbers.to(torch.int8), steps.scale, None if steps.zero is None else steps.zero.to(torch.int8))


def inner_layers(net: Any) -> dict[str, Any]:
    """The linear layers of a Hugging Face model by name, without the one that writes the scores of tokens.

    Raises:
        Unfit: there are none.
    """
    import torch

    outer = net.get_output_embeddings()
    found = {name: one for name, one in net.named_modules() if isinstance(one, torch.nn.Linear) and one is not outer}
    if not found:
        kinds = sorted({type(one).__name__ for one in net.modules() if next(one.children(), None) is None})
        raise Unfit(f"nothing to quantize: only linear layers are, and this model has {', '.join(kinds)}")
    return found


def need_rows(layers: Mapping[str, Any], group: int) -> None:
    """Raises `Unfit` when a layer has a size that the kernel for 4 bits does not take."""
    for name, layer in layers.items():
        rows, columns = layer.weight.shape
        if columns % group:
            raise Unfit(f"{name}: {_undivided(columns, group)}")
        if rows % ROWS:
            raise Unfit(f"{name} has {rows} outputs, and the kernel for 4 bits takes multiples of {ROWS}: int8_weights")


def outer_layers(net: Any, head: Scheme | None = None) -> dict[str, tuple[Scheme, Whole]]:
    """The table of tokens, and the output layer where it is not tied to it, in 8 bits a weight.

    Args:
        head: how the output layer is kept, if otherwise; tied to the table, it has the table's numbers.
    """
    import torch

    plain, named = Scheme(), {one: name for name, one in net.named_modules()}
    table, outer = net.get_input_embeddings(), net.get_output_embeddings()
    made = {named[table]: (plain, nearest(table.weight, plain))}
    if isinstance(outer, torch.nn.Linear) and (head or outer.weight is not table.weight):
        made[named[outer]] = (head or plain, nearest(outer.weight, head or plain))
    return made


def write(net: Any, source: Source, folder: Path, made: Mapping[str, tuple[Scheme, Whole]]) -> Path:
    """Write a Hugging Face folder whose layers of these names are packed, and all else in bfloat16."""
    from safetensors.torch import save_file

    table = net.get_input_embeddings()
    tied = {
        name for name, one in net.named_modules()
        if one is not table and getattr(one, "weight", None) is table.weight
    }  # fmt: skip
    tensors = _others(net, {*made, *tied})
    for name, (scheme, kept) in made.items():
        if name not in tied:
            tensors.update({f"{name}.{part}": tensor for part, tensor in _tensors(scheme, kept).items()})
    net.config.save_pretrained(folder)
    file = folder / "config.json"
    left = [name for name in inner_and_outer(net) if name not in made]
    told = json.loads(file.read_text()) | {
        "dtype": "bfloat16",
        "quantization_config": described({name: scheme for name, (scheme, _) in made.items()}, left),
    }
    file.write_text(json.dumps(told, indent=2))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    companions(source.path, folder)
    (folder / COMPUTE).write_text(json.dumps({"compute": "bfloat16"}))
    return folder


def inner_and_outer(net: Any) -> list[str]:
    """The names of all linear layers."""
    import torch

    return [name for name, one in net.named_modules() if isinstance(one, torch.nn.Linear)]


def _others(net: Any, packed: set[str]) -> dict[str, torch.Tensor]:
    """The tensors of all that is not packed; biases of packed layers are."""
    import torch

    left = {}
    for name, tensor in net.state_dict().items():
        module, _, part = name.rpartition(".")
        if not (module in packed and part == "weight"):
            left[name] = tensor.to(torch.bfloat16).contiguous() if tensor.is_floating_point() else tensor
    return left


def _tensors(scheme: Scheme, kept: Whole) -> dict[str, torch.Tensor]:
    from weigh.model.packed_layers import tensors_of

    return tensors_of(kept.numbers, kept.scale, kept.zero, scheme, kept.inputs)


def loaded(source: Source, name: str) -> Any:
    """A Hugging Face model in float32, to be packed.

    Raises:
        Unfit: it is none, or its weights are packed already.
    """
    from weigh.model.huggingface import read_json
    from weigh.model.module import load_module

    if source.format != "huggingface":
        raise Unfit(f"{name} rounds the weights of a Hugging Face folder, and this model is {source.format}: give the "
                    "folder from which it was exported, or take int8_static or int4_weights")  # fmt: skip
    if "quantization_config" in read_json(source.path / "config.json"):
        raise Unfit(f"{name} rounds weights that were not rounded before, and those of this model were: give the "
                    "model from before it was quantized")  # fmt: skip
    return load_module(source, "float32")


def pack(source: Source, folder: Path, name: str, scheme: Scheme, embeddings: bool, head: Scheme | None = None) -> Path:
    """Write the model with each weight as the nearest whole number.

    Args:
        embeddings: the table of tokens and the output layer too, in 8 bits.
        head: how the output layer is kept, if otherwise.
    """
    net = loaded(source, name)
    layers = inner_layers(net)
    if scheme.bits == 4:
        need_rows(layers, scheme.group)
    made = {place: (scheme, nearest(layer.weight, scheme)) for place, layer in layers.items()}
    return write(net, source, folder, {**made, **(outer_layers(net, head) if embeddings or head else {})})
