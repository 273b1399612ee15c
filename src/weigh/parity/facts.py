"""What a stage says of itself besides its weights: tokenizer, template, special tokens, RoPE, ties, sizes.

A fact is a JSON value under a dotted name. `ABSENT` says that the stage has none where it should; a fact that a format
cannot show is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from weigh.choice import content_digest

Facts: TypeAlias = dict[str, Any]
ABSENT = "absent"
UNSET = "not set"
"""What a certificate says of a fact that is None: there, and without a value."""
PLAIN_CONVERSATION = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4."},
    {"role": "user", "content": "And  twice that,\nas a word? "},
)
"""Rendered by every template, and tokenized by every tokenizer: both sides of a turn, blanks at its ends."""
CONVERSATION = ({"role": "system", "content": "You answer briefly."}, *PLAIN_CONVERSATION)
SAMPLES = (
    "The quick brown fox jumps over the lazy dog.",
    " two  blanks\tand a tab\nand lines\n\n",
    "Ünïcödé, 東京, 🙂, and e\u0301 in two code points",
    "def f(x):\n    return x**2 + 3.14159  # 12345",
    "Don't STOP — 'quoted' \"twice\" <tag> [INST] {x}",
)
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_NOT_OF_THE_MODEL = frozenset(
    "_name_or_path transformers_version dtype torch_dtype quantization_config use_cache initializer_range"
    " architectures return_dict output_hidden_states output_attentions problem_type id2label label2id torchscript"
    " _attn_implementation chunk_size_feed_forward is_encoder_decoder pretraining_tp attention_dropout rope_theta"
    " rope_scaling".split()
)
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


class Hashed(str):
    """The first 16 hexadecimal digits of a value's SHA-256, which is what a certificate keeps of a long value.

    Attributes:
        of: the value, so that what differs can be shown.
    """

    of: Any


def digest(value: Any) -> Hashed:
    """The hash of a value."""
    made = Hashed(content_digest(value).removeprefix("sha256:")[:16])
    made.of = value
    return made


def of_folder(folder: Path, tok: Any = None) -> Facts:
    """Facts of a Hugging Face folder, as transformers reads it; no code of the model is run.

    Args:
        tok: its tokenizer, where that is loaded already.
    """
    return {**of_config(folder), **of_tokenizer(tok or tokenizer(folder))}


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in _FILES)


def tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; None where it has none."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True) if has_tokenizer(folder) else None


# the configuration


def of_config(folder: Path) -> Facts:
    """Special tokens, RoPE, ties and sizes, out of config.json and generation_config.json."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    values = json.loads(config.to_json_string(use_diff=False))
    facts: Facts = {f"special.config_{name}": values.pop(name, None) for name in _SPECIAL}
    generation = folder / "generation_config.json"
    chosen = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    facts |= {f"special.generation_{name}": chosen.get(name) for name in _SPECIAL}
    facts["tied.flag"] = bool(values.pop("tie_word_embeddings", False))
    facts |= _rope(values)
    facts |= {f"architecture.{name}": value for name, value in values.items() if name not in _NOT_OF_THE_MODEL}
    return facts


def _rope(values: dict[str, Any]) -> Facts:
    rope = values.pop("rope_parameters", None) or {}
    facts = {f"rope.{name}": value for name, value in rope.items() if value is not None}
    facts["rope.max_position_embeddings"] = values.pop("max_position_embeddings", None)
    return facts


# the tokenizer


def of_tokenizer(tok: Any) -> Facts:
    """Digests of each part of a tokenizer, its special tokens, its template and how that renders."""
    if tok is None:
        return {"tokenizer.vocabulary": ABSENT, "template.text": ABSENT}
    facts: Facts = {
        "tokenizer.vocabulary": digest(sorted(tok.get_vocab().items())),
        "tokenizer.size": len(tok),
        "tokenizer.padding_side": tok.padding_side,
        "tokenizer.truncation_side": tok.truncation_side,
        "tokenizer.max_length": tok.model_max_length if tok.model_max_length < 10**9 else "unlimited",
        "tokenizer.added_tokens": {str(at): token.content for at, token in sorted(tok.added_tokens_decoder.items())},
        "tokenizer.encoding": digest([tok(text)["input_ids"] for text in SAMPLES]),
    }
    facts |= {f"special.{name}": getattr(tok, name) for name in (*_SPECIAL, "unk_token_id")}
    return facts | _backend(tok) | of_template(tok)


def _backend(tok: Any) -> Facts:
    if not getattr(tok, "is_fast", False):
        return {}
    parts: Mapping[str, Any] = json.loads(tok.backend_tokenizer.to_str())
    merges = parts.get("model", {}).get("merges")
    named = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    facts = {f"tokenizer.{name}": digest(parts.get(name)) for name in named}
    if merges is not None:
        facts["tokenizer.merges"] = digest([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    ids = tok("a")["input_ids"]
    added: Facts = {
        "tokenizer.add_bos": bool(ids) and tok.bos_token_id is not None and ids[0] == tok.bos_token_id,
        "tokenizer.add_eos": bool(ids) and tok.eos_token_id is not None and ids[-1] == tok.eos_token_id,
    }
    return facts | added


def of_template(tok: Any) -> Facts:
    """The chat template, its renderings of a fixed conversation, and the tokens of that."""
    if not tok.chat_template:
        return {"template.text": ABSENT}
    template = tok.chat_template if isinstance(tok.chat_template, str) else json.dumps(tok.chat_template)
    whole = rendered(tok, CONVERSATION)
    return {
        "template.text": digest(template),
        "template.rendered": digest(whole),
        "template.rendered_without_system": digest(rendered(tok, PLAIN_CONVERSATION)),
        "template.tokens": digest(tok(whole, add_special_tokens=False)["input_ids"]),
    }


def rendered(tok: Any, conversation: Any) -> str:
    """A conversation as the template writes it, ready for the answer; what the template says where it refuses."""
    import jinja2

    try:
        return str(tok.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=True))
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        return f"refused: {error}"
