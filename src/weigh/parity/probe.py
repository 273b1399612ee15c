"""The tokens that every stage of a pipeline reads: short prompts, one conversation, and what the first stage writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.parity.facts import CONVERSATION, rendered

if TYPE_CHECKING:
    from torch import Tensor

    from weigh.parity.stage import Answer

LENGTH, PROMPTS, NEW_TOKENS = 16, 16, 12
TEXTS = (
    "The harbour was quiet that morning; three boats lay at the pier, and nobody had yet come down from the village.",
    "To sort a list of n numbers by comparing them, any algorithm needs at least on the order of n log n comparisons.",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n   "
    " return total / len(values)",
    "The capital of France is Paris, the capital of Italy is Rome, and the capital of "
    "Spain is Madrid; of Portugal it is",
    "Water boils at 100 degrees Celsius at sea level, but on a mountain of 3,000 metres it boils at about 90 degrees.",
    "In 1905 Albert Einstein published four papers: on light quanta, on Brownian motion, "
    "on special relativity, and on mass.",
    "Dear Ms Brown,\n\nthank you for your letter of 12 March. I am sorry to say that the order will be two weeks late.",
    "SELECT name, COUNT(*) AS orders FROM customers JOIN orders USING (customer_id) WHERE year = 2023 GROUP BY name",
    "She opened the old box slowly. Inside lay a letter, a dried flower, and a small key "
    "that fitted none of the doors.",
    "Ingredients: 200 g flour, 2 eggs, 300 ml milk, a pinch of salt. Whisk everything until the batter is smooth, then",
    "A photon that leaves the surface of the Sun needs about eight minutes and twenty "
    "seconds until it reaches the Earth.",
    "Q: If a train travels 120 km in an hour and a half, how fast is it on average? A: It travels 120 / 1.5 = 80 km/h.",
    "The heart pumps blood through two circuits: one to the lungs and back, and one "
    "through the rest of the body, where",
    "import json\n\nwith open('config.json') as file:\n    config = json.load(file)\nprint(config['model']['layers'])",
    "Once upon a time, in a land far away, there lived a fox who could count to seven but never wished to go further.",
    "The committee will meet on Tuesday at 10 o'clock in room 4B; please send questions before noon on the day before.",
    "Gold is a chemical element with the symbol Au and atomic number 79; it is dense, "
    "soft, and does not rust in air or",
    "When the wind blows from the north the valley stays cold for days, and the farmers "
    "light fires between their vines.",
    '<div class="card">\n  <h2>Title</h2>\n  <p>Some text with a <a href="#">link</a> in '
    "it.</p>\n</div>\n<script>let x",
    "Le chat dort sur le canapé pendant que la pluie tombe dehors ; demain, il fera beau et nous irons à la plage.",
    "Photosynthesis turns carbon dioxide and water into sugar and oxygen, with light as "
    "the source of the energy it needs.",
    "My first rule of debugging is to reproduce the problem; the second is to change one thing at a time and to look.",
    "There are 24 hours in a day, 60 minutes in an hour and 60 seconds in a minute, so a "
    "day has 86,400 seconds in all.",
    "Chapter 3. Of the many kinds of knots that sailors use, the bowline is the one that "
    "is learnt first and trusted most.",
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Token sequences, padded on the right.

    Attributes:
        ids, mask: int64, shape (sequences, tokens).
        starts: of each sequence, how many tokens are the prompt; what follows was written greedily.
        ends: of each sequence, how many tokens are real.
    """

    ids: Tensor
    mask: Tensor
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def part(self, start: int, stop: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """Some sequences, no wider than they need: ids, mask and ends."""
        ends = self.ends[start:stop]
        return self.ids[start:stop, : max(ends)], self.mask[start:stop, : max(ends)], ends

    def places(self) -> tuple[Tensor, Tensor]:
        """Sequence and position of every token that is followed by another."""
        import torch

        pairs = [(row, at) for row, end in enumerate(self.ends) for at in range(end - 1)]
        rows, at = torch.tensor(pairs).T
        return rows, at


def prompts(tok: Any, vocabulary: int, count: int, seed: int, text: Path | None = None) -> list[list[int]]:
    """Prompts as tokens, `LENGTH` each, and one conversation as the template renders it.

    Without a tokenizer they are random tokens.

    Raises:
        UsageError: the text is too short for so many prompts.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    if tok is None:
        return rng.integers(0, vocabulary, (count, LENGTH)).tolist()
    if text is not None:
        from weigh.model.text import prompts as of_text

        chosen = of_text(text, tok, LENGTH, count, seed).tolist()
    else:
        chosen = _of_texts(tok, count, [TEXTS[at] for at in rng.permutation(len(TEXTS))], rng)
    if tok.chat_template:
        talk = tok(rendered(tok, CONVERSATION), add_special_tokens=False)["input_ids"]
        chosen.append([one for one in talk if one < vocabulary][-6 * LENGTH :])
    return [[min(one, vocabulary - 1) for one in ids] for ids in chosen]


def _of_texts(tok: Any, count: int, texts: Sequence[str], rng: Any) -> list[list[int]]:
    made: list[list[int]] = []
    for turn in range(1 + count // len(texts)):
        for text in texts:
            ids = tok(text)["input_ids"]
            skip = 0 if turn == 0 else int(rng.integers(1, max(2, len(ids) - LENGTH)))
            made.append((ids * LENGTH)[skip : skip + LENGTH])
    if not made[0]:
        raise UsageError("the tokenizer of the first stage makes no tokens of plain text; give it back its vocabulary")
    return made[:count]


def written(chosen: Sequence[Sequence[int]], step: Any, answer: Answer, new_tokens: int) -> Probe:
    """Prompts, each with the tokens that a model writes after it, greedily.

    Args:
        step: a Hugging Face module, which keeps a cache; None: every token is a whole pass of `answer`.
    """
    import torch

    done: list[list[int]] = [[] for _ in chosen]
    for length in sorted({len(ids) for ids in chosen}):
        places = [at for at, ids in enumerate(chosen) if len(ids) == length]
        ids = torch.tensor([list(chosen[at]) for at in places])
        whole = _cached(step, ids, new_tokens) if step is not None else _whole(answer, ids, new_tokens)
        for at, row in zip(places, whole.tolist(), strict=True):
            done[at] = row
    return padded(done, [len(ids) for ids in chosen])


def padded(rows: Sequence[Sequence[int]], starts: Sequence[int]) -> Probe:
    """Sequences of different lengths as one table."""
    import torch

    ends = tuple(len(row) for row in rows)
    ids, mask = (torch.zeros(len(rows), max(ends), dtype=torch.int64) for _ in range(2))
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = torch.tensor(row), 1
    return Probe(ids, mask, tuple(starts), ends)


def _cached(module: Any, ids: Tensor, new_tokens: int) -> Tensor:
    import torch

    made, cache, last = ids, None, ids
    with torch.inference_mode():
        for _ in range(new_tokens):
            out = module(input_ids=last, past_key_values=cache, use_cache=True)
            last, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            made = torch.cat([made, last], 1)
    return made


def _whole(answer: Answer, ids: Tensor, new_tokens: int) -> Tensor:
    import torch

    for _ in range(new_tokens):
        last = answer(ids, torch.ones_like(ids))[:, -1:].argmax(-1)
        ids = torch.cat([ids, last], 1)
    return ids
