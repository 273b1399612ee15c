"""The tokenizer of a Hugging Face folder, as a GGUF file holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weigh.choice import Unfit

NORMAL, CONTROL, USER, UNUSED = 1, 3, 4, 5
"""Kinds of tokens, as llama.cpp counts them."""
NO_MERGE = ["a b"]
"""llama.cpp refuses a file without merges; pairs that are no tokens are never merged."""
REGEX = {
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": "llama-bpe",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+": "qwen2",
}
"""How llama.cpp calls a way to cut text before merging."""


def write_tokens(writer: Any, folder: Path, tokenizer: Any, config: Any, ids_only: bool) -> None:
    """Tokens, merges, kinds, special tokens and chat template.

    Raises:
        Unfit: llama.cpp would cut a text otherwise, and the file is meant for text.
    """
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    before = cut_by(told)
    if before is None and not ids_only:
        raise Unfit(
            "weigh writes byte-level BPE tokenizers cut as GPT-2, SmolLM, Llama 3 or Qwen 2 do, and this is another: "
            "llama.cpp's own convert_hf_to_gguf.py knows more"
        )
    names, kinds = listed(told, int(config.vocab_size))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(before or "default")
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    writer.add_token_merges((merges(told) if before else []) or NO_MERGE)
    for place, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id), (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id), (tokenizer.unk_token_id, writer.add_unk_token_id),
    ):  # fmt: skip
        if place is not None:
            add(place)
    writer.add_add_bos_token(_adds_bos(tokenizer))
    if template := getattr(tokenizer, "chat_template", None):
        writer.add_chat_template(template)


def _adds_bos(tokenizer: Any) -> bool:
    """Whether a text begins with the token that begins texts; asked of the tokenizer itself."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def cut_by(told: dict[str, Any]) -> str | None:
    """llama.cpp's name of how text is cut before merging; None where it has none that weigh knows.

    >>> steps = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}]
    >>> cut_by({"model": {"type": "BPE"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})
    'smollm'
    """
    model, first = told.get("model") or {}, told.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", [first])
    kinds = [step.get("type") for step in steps]
    if model.get("type") != "BPE" or model.get("byte_fallback") or kinds[-1:] != ["ByteLevel"]:
        return None
    if kinds == ["ByteLevel"]:
        return "gpt-2" if steps[0].get("use_regex", True) else None
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        return REGEX.get((steps[0].get("pattern") or {}).get("Regex", ""))
    return None


def listed(told: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Every token and its kind, in order; places that no token has are filled."""
    by_place = {place: (name, NORMAL) for name, place in (told["model"].get("vocab") or {}).items()}
    for one in told.get("added_tokens", ()):
        by_place[one["id"]] = one["content"], CONTROL if one.get("special") else USER
    found = [by_place.get(place, (f"[PAD{place}]", UNUSED)) for place in range(size)]
    return [name for name, _ in found], [kind for _, kind in found]


def merges(told: dict[str, Any]) -> list[str]:
    """Pairs in order, as 'left right'."""
    return [" ".join(one) if isinstance(one, list) else one for one in told["model"].get("merges", ())]
