"""From tokens to text as they are written: whole characters only, and nothing of what a stop text cuts off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

BEHIND, HELD = 6, 16
"""Tokens of the prompt that tell whether an answer begins with a space; tokens held back at most."""
BROKEN = "\ufffd"
A_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Detokenizer:
    """Text of one answer, token by token; a character whose bytes are spread over tokens comes with the last of them.

    Args:
        tokenizer: of transformers.
        prompt: token ids that stand before the answer.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-BEHIND:])
        self._start, self._read = 0, len(self._ids)
        self._before = self._text()

    def push(self, token: int) -> str:
        """What can be shown now; empty while a character is not whole."""
        self._ids.append(token)
        text = self._text()
        whole = len(text) > len(self._before) and not text.endswith(BROKEN)
        return self._shown(text) if whole or len(self._ids) - self._read >= HELD else ""

    def flush(self) -> str:
        """What is left at the end, whole or not."""
        return self._shown(self._text()) if len(self._ids) > self._read else ""

    def _shown(self, text: str) -> str:
        made = text[len(self._before) :]
        self._start, self._read = self._read, len(self._ids)
        self._before = self._text()
        return made

    def _text(self) -> str:
        found: str = self._tokenizer.decode(
            self._ids[self._start :], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return found


class Stopper:
    """Cuts an answer before the first of some texts; what may be the beginning of one is held back.

    >>> stopper = Stopper(("END",))
    >>> stopper.push("a E"), stopper.push("N"), stopper.push("joy"), stopper.push(" END b"), stopper.stopped
    ('a ', '', 'ENjoy', ' ', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held = [stop for stop in stops if stop], ""
        self.stopped = False

    def push(self, text: str) -> str:
        """What can be shown of it, and of what was held back."""
        if not self._stops:
            return text
        whole = self._held + text
        places = [place for stop in self._stops if (place := whole.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return whole[: min(places)]
        keep = max(self._tail(whole, stop) for stop in self._stops)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def flush(self) -> str:
        """What is still held back when the answer ends."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _tail(text: str, stop: str) -> int:
        """Characters at the end of the text that begin the stop text."""
        most = min(len(stop) - 1, len(text))
        return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)


def token_text(tokenizer: Any, token: int) -> tuple[str, tuple[int, ...]]:
    """One token as text, with a replacement character where it is no whole character, and its bytes."""
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if found := A_BYTE.fullmatch(piece):
        value = int(found[1], 16)
        return bytes([value]).decode(errors="replace"), (value,)
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    if piece.startswith("\u2581"):
        text = piece.replace("\u2581", " ")
    if BROKEN in text and all(letter in _letters() for letter in piece):
        return text, tuple(_letters()[letter] for letter in piece)
    return text, tuple(text.encode())


@cache
def _letters() -> dict[str, int]:
    """The letters by which byte-level tokenizers write bytes: printable ones by themselves, the rest from 256 on.

    Source: Radford et al., Language Models are Unsupervised Multitask Learners (GPT-2), 2019, `encoder.py`.
    """
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [value for value in range(256) if value not in own]
    return {chr(value): value for value in own} | {chr(256 + place): value for place, value in enumerate(rest)}
