"""What a task's model is given: rows, tokenized texts, or prompts out of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.choice import UsageError
from weigh.model.rows import Rows, load_rows

if TYPE_CHECKING:
    from weigh.model.source import Source
    from weigh.serve.runtime import RuntimeTask

EXAMPLES = 2
"""Rows that an option may look at when it converts, the same in every run: artefacts depend on the task alone."""


def load_feeds(task: RuntimeTask, source: Source) -> Rows:
    """All inputs of the task, without labels.

    Raises:
        UsageError: they cannot be read, do not fit the model, or are too few.
    """
    if source.kind == "language":
        rows = _prompts(task, source)
    elif source.kind == "encoder":
        from weigh.model.texts import load_texts

        rows = Rows(load_texts(task, source).feeds, None)
    else:
        rows = load_rows(task.data, task, source, labelled=False)
    fewest = EXAMPLES + max(task.sizes)
    if len(rows) < fewest:
        raise UsageError(
            f"{task.data} has {len(rows)} rows, and {fewest} are the fewest for batches of {max(task.sizes)}: give "
            "more rows, or smaller batch_sizes"
        )
    return rows


def _prompts(task: RuntimeTask, source: Source) -> Rows:
    from weigh.model.module import load_tokenizer
    from weigh.model.text import windows

    return Rows({"input_ids": windows(task.data, load_tokenizer(source), task.prompt_tokens)}, None)
