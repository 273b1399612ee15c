"""Loading a model through bitsandbytes, and writing what it made."""

from __future__ import annotations

from pathlib import Path

from weigh.model.huggingface import maker_of, quiet, save
from weigh.model.imports import transformers
from weigh.model.source import Source


def write_nf4(source: Source, folder: Path, double: bool) -> Path:
    """A Hugging Face folder of NF4 weights, the rest in bfloat16."""
    import torch

    told = transformers("BitsAndBytesConfig")(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=double,
    )  # fmt: skip
    with quiet():
        net = maker_of(source.path, source.kind).from_pretrained(
            source.path, quantization_config=told, dtype=torch.bfloat16, device_map="cpu", local_files_only=True,
            trust_remote_code=False, use_safetensors=True,
        )  # fmt: skip
    return save(net, source.path, folder, "bfloat16")
