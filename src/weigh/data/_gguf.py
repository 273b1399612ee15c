"""From the GGUF of a Llama to a Hugging Face folder in bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["convert"]


def convert(gguf: Path, folder: Path) -> None:
    """Write the weights, configuration, tokenizer and chat template of a Llama in `gguf` into `folder`.

    A model that transformers read from a GGUF refuses to be saved, so its state goes into a fresh one whose
    configuration says nothing of quantization. Nothing is asked of a network.

    Raises:
        ValueError: the GGUF lacks weights of a Llama, or has others.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    local = {"gguf_file": gguf.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **local)
    described = read.config.to_dict()
    unsaid = ("model_type", "transformers_version", "quantization_config", "_name_or_path")
    with torch.device("meta"):
        module = LlamaForCausalLM(LlamaConfig(**{key: said for key, said in described.items() if key not in unsaid}))
    state = {name: weight.to(torch.bfloat16) for name, weight in read.state_dict().items()}
    module.load_state_dict(state, strict=True, assign=True)
    module.tie_weights()
    module.generation_config = read.generation_config
    module.save_pretrained(folder)
    tokenizer(gguf).save_pretrained(folder)


def tokenizer(gguf: Path) -> Any:
    """The tokenizer in the GGUF; of SmolLM2's, every digit is a piece of its own.

    transformers 5.23 leaves out that step, which the pre-tokenizer named `smollm` starts with: "a  1" then has its
    spaces cut otherwise than in training.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is None or field.contents() != "smollm":
        return read
    steps = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    read.backend_tokenizer.pre_tokenizer = Sequence(steps)
    return read
