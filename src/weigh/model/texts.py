"""Labelled texts, as an encoder reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weigh.choice import UsageError
from weigh.model.huggingface import tokenizer
from weigh.model.rows import Rows
from weigh.model.source import Source

if TYPE_CHECKING:
    from weigh.model.task import ModelTask


def load_texts(task: ModelTask, source: Source) -> Rows:
    """Token rows, padded and cut to `task.window` tokens, and their labels.

    Raises:
        UsageError: the table lacks the columns of texts and labels, or has gaps.
    """
    from weigh.data import DataError, require

    try:
        frame = require(task.data, columns=[task.text, task.label]).select([task.text, task.label]).collect()
    except DataError as error:
        raise UsageError(f"{error} (an encoder is judged on labelled texts: text=COLUMN label=COLUMN)") from None
    if gaps := int(frame.null_count().sum_horizontal()[0]):
        raise UsageError(f"{task.data} has {gaps} gaps in '{task.text}' or '{task.label}'; leave those rows out")
    told = tokenizer(source.path)(
        frame[task.text].cast(str).to_list(), padding="max_length", truncation=True, max_length=task.window,
        return_tensors="np",
    )  # fmt: skip
    feeds = {name: told[name].astype("int64") for name in ("input_ids", "attention_mask")}
    labels = frame[task.label]
    return Rows(feeds, labels.to_numpy() if labels.dtype.is_numeric() else labels.cast(str).to_numpy().astype(str))
