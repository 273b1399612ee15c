"""Requests of a task: rows or prompts, and when they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source
    from weigh.serve.batching import BatchingTask

    Feed: TypeAlias = Mapping[str, NDArray[np.generic]]

PROMPTS = 256
"""Windows of a text that are taken as prompts, in order."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        arrival: seconds after the replay began.
        size: rows, or tokens to write.
        feed: of a model of rows.
        prompt: token ids, of a language model.
    """

    arrival: float
    size: int
    feed: Feed | None = None
    prompt: tuple[int, ...] = ()


class Requests:
    """Draws requests out of what the task brings.

    Raises:
        UsageError: there is too little of it, or it does not fit the model.
    """

    def __init__(self, task: BatchingTask, source: Source) -> None:
        self._task = task
        self.prompts: list[tuple[int, ...]] = []
        self.rows: Any = None
        if source.kind == "language":
            self.prompts = _prompts(task, source)
        elif source.kind == "encoder":
            from weigh.model.rows import Rows
            from weigh.model.texts import load_texts

            self.rows = Rows(load_texts(task, source).feeds, None)
        else:
            from weigh.model.rows import load_rows

            self.rows = load_rows(task.data, task, source, labelled=False)

    def drawn(self, seed: int, rate: float, count: int) -> list[Request]:
        """Requests in order of arrival, the times between them exponential: a Poisson stream.

        Args:
            rate: requests a second, on average.
        """
        import numpy as np

        dice = np.random.default_rng(seed)
        times = np.cumsum(dice.exponential(1 / rate, count))
        return [self._one(dice, float(when)) for when in times - times[0]]

    def _one(self, dice: np.random.Generator, when: float) -> Request:
        task = self._task
        if self.prompts:
            least = -(-task.new_tokens // 4)
            size = int(dice.integers(least, task.new_tokens + 1))
            return Request(when, size, prompt=self.prompts[int(dice.integers(len(self.prompts)))])
        size = int(dice.integers(1, task.rows + 1))
        return Request(when, size, feed=self.feed(dice, size))

    def feed(self, dice: np.random.Generator, rows: int) -> Feed:
        """Some rows."""
        found: Feed = self.rows.take(dice.integers(len(self.rows), size=rows))
        return found


def _prompts(task: BatchingTask, source: Source) -> list[tuple[int, ...]]:
    from weigh.model.module import load_tokenizer

    tokenizer = load_tokenizer(source)
    if task.data.suffix == ".jsonl":
        return _lines(task, tokenizer)
    from weigh.model.text import windows

    found = windows(task.data, tokenizer, task.prompt_tokens)[:PROMPTS]
    return [tuple(row) for row in found.tolist()]


def _lines(task: BatchingTask, tokenizer: Any) -> list[tuple[int, ...]]:
    import json

    from weigh.model.text import read_text

    found = []
    for number, line in enumerate(read_text(task.data).splitlines(), 1):
        try:
            text = json.loads(line)["prompt"]
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(f'{task.data}, line {number}: not a line of the form {{"prompt": "text"}}') from None
        if not ids:
            raise UsageError(f"{task.data}, line {number}: the prompt is empty")
        found.append(tuple(ids[-task.prompt_tokens :]))
    if not found:
        raise UsageError(f"{task.data} has no line: give prompts, one {{'prompt': 'text'}} a line")
    return found
