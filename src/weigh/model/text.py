"""Text as a language model reads it: windows of tokens, and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        UsageError: it is empty, or no UTF-8 text.
    """
    if path.suffix in (".npz", ".parquet", ".arrow", ".feather", ".csv", ".tsv"):
        raise UsageError(f"{path} is a table, and a language model is judged on a text: give a .txt or .md file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text; a language model is judged on a .txt or .md file") from None
    if not text.strip():
        raise UsageError(f"{path} is empty; give a text of 10,000 words or more like those that it will meet")
    return text


def windows(path: Path, tokenizer: Any, length: int) -> NDArray[np.int64]:
    """Neighbouring windows of a text, shape (windows, length), each once; special tokens are not added."""
    import numpy as np

    ids = tokenizer(read_text(path), add_special_tokens=False, verbose=False)["input_ids"]
    count = len(ids) // length
    if not count:
        raise UsageError(f"{path} has {len(ids)} tokens, fewer than one window of {length}: give a longer text")
    table = np.array(ids[: count * length], dtype=np.int64).reshape(count, length)
    _, first = np.unique(table, axis=0, return_index=True)
    return np.ascontiguousarray(table[np.sort(first)])


def prompts(path: Path, tokenizer: Any, length: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Some windows of a text in an order drawn from the seed, shape (count, length).

    Raises:
        UsageError: the text has fewer.
    """
    import numpy as np

    found = windows(path, tokenizer, length)
    if len(found) < count:
        raise UsageError(
            f"{path} has {len(found)} distinct prompts of {length} tokens, not {count}: give a longer text"
        )
    return found[np.random.default_rng(seed).permutation(len(found))[:count]]
