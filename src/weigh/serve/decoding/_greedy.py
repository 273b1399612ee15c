"""Greedy decoding over a runner: plain, and with proposals that the model tests several at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weigh.serve.decoding import Session, Step, Told
from weigh.serve.decoding._runner import Runner

if TYPE_CHECKING:
    import torch


class Greedy(Session):
    """One token after the other."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        token = self.runner.read(prompt)
        told(Step((token,)))
        for _ in range(new_tokens - 1):
            (token,) = self.runner.feed((token,))
            told(Step((token,)))

    def cache_bytes(self) -> int:
        return self.runner.cache_bytes()

    def kept(self) -> list[torch.Tensor]:
        return self.runner.kept()


class Proposer(ABC):
    """Guesses how a text goes on, cheaply."""

    @abstractmethod
    def begin(self, prompt: Sequence[int]) -> None:
        """A new text."""

    @abstractmethod
    def propose(self, text: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that may come after the text, which starts as the one before did."""

    def cache_bytes(self) -> int:
        """Bytes of its own keys and values."""
        return 0

    def kept(self) -> list[torch.Tensor]:
        """Tensors that it holds between answers."""
        return []


class Speculative(Session):
    """The model tests what a proposer guesses: all guesses in one pass, up to the first that it would not have written.

    The tokens are those of plain greedy decoding, whatever is proposed.

    Args:
        runner: the model.
        proposer: the guesses.
        ahead: the most tokens that are proposed at once.

    Source: Leviathan et al., Fast Inference from Transformers via Speculative Decoding (arXiv 2211.17192).
    """

    def __init__(self, runner: Runner, proposer: Proposer, ahead: int) -> None:
        self.runner, self.proposer, self.ahead = runner, proposer, ahead

    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        text = [*prompt, self.runner.read(prompt)]
        told(Step(text[-1:]))
        self.proposer.begin(prompt)
        whole = len(prompt) + new_tokens
        while len(text) < whole:
            guesses = self.proposer.propose(text, min(self.ahead, whole - len(text) - 1))
            said = self.runner.feed([text[-1], *guesses])
            taken = next((place for place, guess in enumerate(guesses) if guess != said[place]), len(guesses))
            self.runner.keep(len(text) + taken)
            text += said[: taken + 1]
            told(Step(said[: taken + 1], min(taken + 1, len(guesses)), taken))

    def cache_bytes(self) -> int:
        return self.runner.cache_bytes() + self.proposer.cache_bytes()

    def kept(self) -> list[torch.Tensor]:
        return [*self.runner.kept(), *self.proposer.kept()]


class Drafting(Proposer):
    """A smaller model guesses greedily; it remembers what it has read."""

    def __init__(self, draft: Runner) -> None:
        self.draft = draft
        self._read: list[int] = []

    def begin(self, prompt: Sequence[int]) -> None:
        self.draft.read(prompt)
        self._read = list(prompt)

    def propose(self, text: Sequence[int], most: int) -> list[int]:
        if most < 1:
            return []
        same = min(len(self._read), len(text))
        while self._read[:same] != list(text[:same]):
            same -= 1
        self.draft.keep(same)
        made = [self.draft.feed(text[same:])[-1]]
        while len(made) < most:
            made += self.draft.feed(made[-1:])
        self._read = [*text, *made[:-1]]
        return made

    def cache_bytes(self) -> int:
        return self.draft.cache_bytes()

    def kept(self) -> list[torch.Tensor]:
        return self.draft.kept()


class Lookup(Proposer):
    """Guesses that a text goes on as it did after the last time when its latest tokens were seen.

    Args:
        longest: of the latest tokens so many are looked for, then fewer.
        shortest: and not fewer than so many.

    Source: Saxena, Prompt Lookup Decoding (github.com/apoorvumang/prompt-lookup-decoding), 2023.
    """

    def __init__(self, longest: int, shortest: int) -> None:
        self._sizes = range(longest, shortest - 1, -1)
        self._seen: dict[tuple[int, ...], int] = {}
        self._done = 0

    def begin(self, prompt: Sequence[int]) -> None:
        self._seen, self._done = {}, 0

    def propose(self, text: Sequence[int], most: int) -> list[int]:
        for end in range(self._done + 1, len(text)):  # what ends with the text itself has no continuation yet
            for size in self._sizes:
                if size <= end:
                    self._seen[tuple(text[end - size : end])] = end
        self._done = len(text) - 1
        for size in self._sizes:
            place = self._seen.get(tuple(text[-size:])) if size <= len(text) else None
            if place is not None:
                return self._onwards(text, place, most)
        return []

    def _onwards(self, text: Sequence[int], place: int, most: int) -> list[int]:
        """What came after that place; where the text ends, it goes on with what was guessed."""
        made: list[int] = []
        while len(made) < most:
            at = place + len(made)
            made.append(text[at] if at < len(text) else made[at - len(text)])
        return made
