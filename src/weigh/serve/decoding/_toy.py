"""A small Llama of random weights, and a text that it wrote itself."""

from __future__ import annotations

from pathlib import Path

from weigh.serve.decoding import DecodingTask


def write_toy(folder: Path, seed: int = 0) -> DecodingTask:
    """Two layers of 64, a vocabulary of 256; prompts of 8 tokens, answers of 12."""
    from weigh.model.toy import write_language_toy

    made = write_language_toy(folder, seed, layers=2)
    return DecodingTask(model=made.model, prompts=made.data, prompt_tokens=8, new_tokens=12, rounds=40)
