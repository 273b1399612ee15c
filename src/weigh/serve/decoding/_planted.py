"""Options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field

from weigh.serve.decoding import Decoder, Served, Session, Step, Told
from weigh.serve.decoding._greedy import Proposer, Speculative
from weigh.serve.decoding._runner import ModuleRunner


@final
class Forgetful(Decoder):
    """The planted loser: says its first token again and again; the fastest of all, and no answer. Source: none."""

    name: ClassVar[str] = "forgetful"

    def open(self, served: Served) -> Session:
        return _Parrot()


class _Parrot(Session):
    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        for _ in range(new_tokens):
            told(Step((prompt[-1],)))

    def cache_bytes(self) -> int:
        return 0


@final
class Guessing(Decoder):
    """A planted twin: tests one token a step that it draws by itself, and is nearly never right. Source: none."""

    name: ClassVar[str] = "guessing"

    seed: int = Field(1, description="of what it draws")

    def open(self, served: Served) -> Session:
        from transformers import DynamicCache

        runner = ModuleRunner(served.module, lambda: DynamicCache(config=served.module.config))
        return Speculative(runner, _Dice(self.seed, served.module.config.vocab_size), 1)


class _Dice(Proposer):
    def __init__(self, seed: int, words: int) -> None:
        self._seed, self._words = seed, words

    def begin(self, prompt: Sequence[int]) -> None:
        return None

    def propose(self, text: Sequence[int], most: int) -> list[int]:
        import random

        return [random.Random(f"{self._seed} {len(text)} {text[-1]}").randrange(self._words)][:most]
