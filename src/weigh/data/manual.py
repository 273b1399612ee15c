"""Python's own reference manual as text: real technical English with code, wherever Python is.

It comes with the standard library (`pydoc_data.topics`, what `help("with")` prints; PSF License 2, (c) Python Software
Foundation): 79 topics, 465 thousand characters in Python 3.11. A fifth of that is said more than once there ("compound
statements" holds "the if statement", which is a topic too), and text that is in a calibration set and in the test would
flatter whatever learnt from it. So every paragraph stands here once, in the longest topic that has it: 370 thousand
characters in Python 3.11. Other versions of Python say other things, and get a file of their own.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from random import Random

from weigh.data.cache import cache_folder, replacing

__all__ = ["paragraphs", "prompts", "text"]

BLANK = re.compile(r"\n\s*\n")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def text() -> Path:
    """The manual as one .txt (UTF-8) in the user's cache folder: topics in alphabetical order, a blank line between
    paragraphs. It is made on first use, in a moment."""
    whole = "\n\n".join(paragraphs()) + "\n"
    target = cache_folder() / "manual" / f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.txt"
    if not target.exists():
        with replacing(target) as temporary:
            temporary.write_text(whole, encoding="utf-8")
    return target


def paragraphs() -> list[str]:
    """Every paragraph once, in order, line breaks and indentation as they are printed."""
    from pydoc_data.topics import topics

    parts = {name: BLANK.split(topics[name].strip("\n")) for name in sorted(topics)}
    owner: dict[str, str] = {}
    for name in sorted(parts, key=lambda name: (-len(topics[name]), name)):
        for part in parts[name]:
            owner.setdefault(part, name)
    kept: dict[str, None] = {}
    for name, said in parts.items():
        own = [part for part in said if owner[part] == name]
        if 2 * sum(map(len, own)) >= sum(map(len, said)):  # else all that is left is a heading
            kept.update(dict.fromkeys(own))
    return list(kept)


def prompts(n: int = 250, words: int = 16) -> list[str]:
    """Beginnings of `n` different paragraphs of prose, to be continued by a model; the same ones each time.

    Each is the first sentence, or its first `words` words where it is longer, on one line. The first of them are spread
    over the whole manual, so fewer are as varied as more.

    Raises:
        ValueError: there are not so many.
    """
    found = list(dict.fromkeys(filter(None, (_beginning(part, words) for part in paragraphs()))))
    Random(0).shuffle(found)
    if not 0 < n <= len(found):
        raise ValueError(f"You asked for {n} prompts, but the manual has {len(found)}: ask for 1 to {len(found)}.")
    return found[:n]


def _beginning(part: str, words: int) -> str:
    """The first words of a paragraph of prose; nothing of headings, lists, code and grammar."""
    if not part[0].isupper() or "::=" in part or part.count("\n") < 1 or "\n   " in part or "\n**" in part:
        return ""
    sentence = SENTENCE.split(" ".join(part.split()))[0].split()
    return " ".join(sentence[:words]) if len(sentence) >= 6 else ""
