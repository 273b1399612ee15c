"""Taking names from transformers, without what libraries that it looks for say about themselves."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TALKERS = ("bitsandbytes", "torchao", "torch.utils._pytree")
"""Loggers that warn while they are imported, of kernels for other machines and of their own code: transformers imports
torchao and bitsandbytes where they are installed, whether they are used or not.
"""


@contextmanager
def hushed() -> Iterator[None]:
    """Errors of those loggers are shown within the block, warnings are not."""
    loggers = [logging.getLogger(name) for name in TALKERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def transformers(name: str) -> Any:
    """A class of transformers, whose module is imported with the first that is taken from it.

    Raises:
        ImportError: transformers is not installed.
        AttributeError: it has no such name.
    """
    with hushed():
        return getattr(importlib.import_module("transformers"), name)
