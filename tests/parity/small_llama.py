"""A tiny random Llama with a real tokenizer, as a Hugging Face folder, and what makes stages of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from weigh.parity.probe import TEXTS

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYERS = 3


def tiny(folder: Path, seed: int = 0, **values: Any) -> Path:
    """A Llama of 3 layers, hidden size 64, in float32."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(TEXTS, trainer)
    raw.add_special_tokens([AddedToken(one, special=True) for one in special])
    tok = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", model_max_length=512,
    )  # fmt: skip
    tok.chat_template = TEMPLATE
    torch.manual_seed(seed)
    told = {
        "vocab_size": len(tok), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "tie_word_embeddings": True, "initializer_range": 0.15,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, **values,
    }  # fmt: skip
    module = LlamaForCausalLM(LlamaConfig(**told))
    for name, value in module.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(value, 1.0, 0.1)
    module.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def encoder(base: Path, folder: Path) -> Path:
    """A Bert with the tokenizer of `base`, numbers of positions in its file, as older writers left them there."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    tok = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    net = BertModel(
        BertConfig(
            vocab_size=len(tok), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            initializer_range=0.3, pad_token_id=2,
        )
    )  # fmt: skip
    for name, value in net.named_parameters():
        if value.dim() == 1:
            torch.nn.init.normal_(value, float(name.endswith("LayerNorm.weight")), 0.1)
    net.save_pretrained(folder)
    tok.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.position_ids"] = torch.arange(512).unsqueeze(0)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def stage(like: Path, folder: Path, change: Change | None = None, dtype: torch.dtype = torch.float32) -> Path:
    """A copy of a folder with other weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(like, folder)
    weights = load_file(like / "model.safetensors")
    weights = change(weights) if change else weights
    kept = {name: value.to(dtype).contiguous() for name, value in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
    return folder


def edit(file: Path, **values: Any) -> None:
    """Set values of a JSON object; None removes one."""
    there = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({name: value for name, value in there.items() if value is not None}))


def adapter(folder: Path, base: Path, rank: int = 4, alpha: float = 8.0) -> Path:
    """A LoRA adapter of random numbers on queries and values."""
    from safetensors.torch import load_file, save_file

    made, generator = {}, torch.Generator().manual_seed(5)
    for name, value in load_file(base / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            made[f"{stem}.lora_A.weight"] = torch.randn(rank, value.shape[1], generator=generator) / 8
            made[f"{stem}.lora_B.weight"] = torch.randn(value.shape[0], rank, generator=generator) / 20
    folder.mkdir()
    save_file(made, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": alpha}))
    return folder


def merged(base: Path, folder: Path, lora: Path, scale: float = 2.0, dtype: torch.dtype = torch.float32) -> Path:
    """Base + scale B A, worked out in `dtype`, kept in float32."""
    from safetensors.torch import load_file

    parts = load_file(lora / "adapter_model.safetensors")

    def add(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name in [name for name in parts if name.endswith("lora_A.weight")]:
            other = name.replace("lora_A", "lora_B")
            to = name.removeprefix("base_model.model.").replace(".lora_A", "")
            delta = scale * (parts[other].to(dtype) @ parts[name].to(dtype))
            weights[to] = (weights[to].to(dtype) + delta).float()
        return weights

    return stage(base, folder, add)
