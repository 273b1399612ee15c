"""Stages of a pipeline as real files: base, LoRA merge, cast, prune, NF4, GGUF, ONNX. What is written here is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.parity import gguf_writer

Weights = dict[str, Tensor]
TARGETS = ("q_proj.weight", "v_proj.weight", "o_proj.weight", "up_proj.weight")


def weights_of(folder: Path) -> Weights:
    """All weights of a folder, float32."""
    return {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}


def write(weights: Weights, like: Path, folder: Path, dtype: torch.dtype) -> Path:
    """A folder with these weights and everything else of `like`."""
    folder.mkdir(parents=True)
    for file in like.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, folder / file.name)
    save_file({name: value.to(dtype).contiguous() for name, value in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    edit(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
    return folder


def edit(file: Path, **values: Any) -> None:
    """Set values of a JSON object; None removes one."""
    there = json.loads(file.read_text()) if file.is_file() else {}
    there = {name: value for name, value in {**there, **values}.items() if value is not None}
    file.write_text(json.dumps(there, indent=1))


def base(origin: Path, folder: Path, rope: dict[str, Any] | None = None) -> Path:
    """SmolLM2 in float32."""
    made = write(weights_of(origin), origin, folder, torch.float32)
    if rope:
        edit(made / "config.json", rope_parameters=rope)
    return made


def adapter(origin: Path, folder: Path, seed: int, rank: int = 8, size: float = 0.15) -> Path:
    """A LoRA adapter of random numbers: updates of about 20 % of a weight's size."""
    made, generator = {}, torch.Generator().manual_seed(seed)
    for name, value in weights_of(origin).items():
        if name.endswith(TARGETS):
            rows, columns = value.shape
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            made[f"{stem}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) / columns**0.5
            made[f"{stem}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) * value.std() * size
    folder.mkdir(parents=True)
    save_file(made, folder / "adapter_model.safetensors")
    targets = [name.removesuffix(".weight") for name in TARGETS]
    edit(folder / "adapter_config.json", peft_type="LORA", r=rank, lora_alpha=2 * rank, target_modules=targets,
         task_type="CAUSAL_LM", bias="none")  # fmt: skip
    return folder


def updates(lora: Path, scale: float | None = None) -> Weights:
    """scale B A by name."""
    parts = load_file(lora / "adapter_model.safetensors")
    config = json.loads((lora / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"] if scale is None else scale
    stems = [name.removesuffix(".lora_A.weight") for name in parts if name.endswith(".lora_A.weight")]
    return {
        f"{stem.removeprefix('base_model.model.')}.weight": scale
        * (parts[f"{stem}.lora_B.weight"] @ parts[f"{stem}.lora_A.weight"])
        for stem in stems
    }


def merge(before: Path, folder: Path, lora: Path, change: Callable[[Weights], Weights] | None = None) -> Path:
    """Base + adapter in float32."""
    weights = weights_of(before)
    for name, delta in updates(lora).items():
        weights[name] = weights[name] + delta
    return write(change(weights) if change else weights, before, folder, torch.float32)


def peft_merge(before: Path, folder: Path, lora: Path) -> Path:
    """The same by PEFT itself, saved by transformers."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    module = AutoModelForCausalLM.from_pretrained(before, dtype=torch.float32)
    PeftModel.from_pretrained(module, lora).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(before).save_pretrained(folder)
    return folder


def cast(before: Path, folder: Path, dtype: torch.dtype, change: Callable[[Weights], Weights] | None = None) -> Path:
    """Every weight rounded once."""
    weights = weights_of(before)
    return write(change(weights) if change else weights, before, folder, dtype)


def resaved(before: Path, folder: Path, dtype: torch.dtype) -> Path:
    """A cast as people do it: loaded and saved by transformers, tokenizer and all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(before, dtype=dtype).save_pretrained(folder)
    AutoTokenizer.from_pretrained(before).save_pretrained(folder)
    return folder


def prune(before: Path, folder: Path, share: float = 0.2) -> Path:
    """The smallest weights of each matrix set to 0."""
    weights = weights_of(before)
    for name, value in weights.items():
        if value.dim() == 2 and "layers" in name:
            least = value.abs().flatten().kthvalue(int(share * value.numel())).values
            weights[name] = torch.where(value.abs() > least, value, 0.0)
    return write(weights, before, folder, torch.float32)


def nf4(before: Path, folder: Path) -> Path:
    """4-bit NormalFloat by bitsandbytes."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    module = AutoModelForCausalLM.from_pretrained(before, quantization_config=how, dtype=torch.float32)
    module.save_pretrained(folder)
    for file in before.iterdir():
        if file.suffix != ".safetensors" and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    return folder


def gguf(before: Path, target: Path, kind: str = "Q8_0", weights: Weights | None = None, **how: Any) -> Path:
    """A GGUF file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: value.numpy() for name, value in (weights or weights_of(before)).items()}
    return gguf_writer.write(arrays, before, target, kind, **how)


class _Logits(torch.nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.module(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def onnx(before: Path, folder: Path, change: Callable[[Any], None] | None = None) -> Path:
    """An ONNX file by torch.onnx, tokenizer and config beside it."""
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(before, dtype=torch.float32, attn_implementation="eager").eval()
    if change:
        change(module)
    folder.mkdir(parents=True)
    for file in before.iterdir():
        if file.suffix != ".safetensors":
            shutil.copyfile(file, folder / file.name)
    example = torch.ones(2, 8, dtype=torch.int64)
    shape = {0: torch.export.Dim("rows", min=1, max=512), 1: torch.export.Dim("tokens", min=1, max=2048)}
    program = torch.onnx.export(
        _Logits(module).eval(), (example, example.clone()), dynamo=True, input_names=["input_ids", "attention_mask"],
        output_names=["logits"], dynamic_shapes=(shape, shape), verbose=False,
    )  # fmt: skip
    program.save(folder / "model.onnx", external_data=True)
    return folder / "model.onnx"


def onnx_dynamic(before: Path, folder: Path) -> Path:
    """int8 weights of the layers' matrices, activations quantized as they come."""
    import onnx as onnx_
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True)
    for file in before.parent.iterdir():
        if not file.name.startswith("model.onnx"):
            shutil.copyfile(file, folder / file.name)
    graph = onnx_.load(before, load_external_data=False).graph
    nodes = [node.name for node in graph.node if "layers." in str(node.metadata_props)]
    quantize_dynamic(before, folder / "model.onnx", nodes_to_quantize=nodes, weight_type=QuantType.QInt8,
                     op_types_to_quantize=["MatMul"],
                     per_channel=True, use_external_data_format=True)  # fmt: skip
    return folder / "model.onnx"


def onnx_static(before: Path, folder: Path, tokens: Tensor) -> Path:
    """int8 weights and activations of the layers' up and gate projections, ranges frozen on `tokens`."""
    import onnx as onnx_
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter([{"input_ids": tokens.numpy(), "attention_mask": torch.ones_like(tokens).numpy()}])

        def get_next(self) -> Any:
            return next(self._left, None)

    folder.mkdir(parents=True)
    for file in before.parent.iterdir():
        if not file.name.startswith("model.onnx"):
            shutil.copyfile(file, folder / file.name)
    graph = onnx_.load(before, load_external_data=False).graph
    held = {one.name for one in graph.initializer}
    wanted = ("gate_proj", "up_proj")
    nodes = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in held and any(w in str(node.metadata_props) for w in wanted)
    ]
    quantize_static(before, folder / "model.onnx", Rows(), quant_format=QuantFormat.QDQ, nodes_to_quantize=nodes,
                    op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True,
                    use_external_data_format=True)  # fmt: skip
    return folder / "model.onnx"
