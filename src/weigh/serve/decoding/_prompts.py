"""Prompts out of real text, and the part of the text that no prompt is taken from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STUDY_LENGTH, STUDY_MOST = 64, 800


def prompts_and_study(
    path: Path | None, tokenizer: Any, length: int, count: int
) -> tuple[list[list[int]], NDArray[np.int64]]:
    """At least `count` prompts in order of the text, and windows to learn on that share no token with them.

    A text is cut in two: the first half is for learning, prompts are windows of the second. Prompts of a .jsonl are
    all used, and learning is on Python's reference manual.

    Raises:
        UsageError: there are too few prompts, or the file is of another kind.
    """
    from weigh.data import manual
    from weigh.model.text import read_text

    if path is not None and path.suffix == ".jsonl":
        study = _tokens(tokenizer, read_text(manual.text()))
        return _lines(path, tokenizer, length, count), _cut(study, STUDY_LENGTH)[:STUDY_MOST]
    file = path or manual.text()
    ids = _tokens(tokenizer, read_text(file))
    half = len(ids) // 2
    found = _cut(ids[half:], length)
    if len(found) < count:
        raise UsageError(
            f"{file} gives {len(found)} prompts of {length} tokens out of its second half, {count} are wanted: give a "
            f"longer text, fewer rounds=..., or shorter prompts (prompt_tokens=...)"
        )
    return found.tolist(), _cut(ids[:half], min(STUDY_LENGTH, max(2, half)))[:STUDY_MOST]


def _tokens(tokenizer: Any, text: str) -> NDArray[np.int64]:
    import numpy as np

    return np.array(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)


def _cut(ids: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    count = len(ids) // length
    return ids[: count * length].reshape(count, length)


def _lines(path: Path, tokenizer: Any, length: int, count: int) -> list[list[int]]:
    from weigh.model.text import read_text

    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            text = json.loads(line)["prompt"]
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(f'{path}, line {number}: not a line of the form {{"prompt": "text"}}') from None
        if not ids:
            raise UsageError(f"{path}, line {number}: the prompt is empty")
        found.append(ids[-length:])
    if len(found) < count:
        raise UsageError(f"{path} has {len(found)} prompts, {count} are wanted: give more, or fewer rounds=...")
    return found
