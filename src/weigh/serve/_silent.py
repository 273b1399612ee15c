"""The process's own streams, closed for a while to libraries that write to them whatever they are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent() -> Iterator[None]:
    """What C++ writes to stdout and stderr within the block is lost; exceptions are not."""
    saved = [os.dup(place) for place in (1, 2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for place in (1, 2):
            os.dup2(null, place)
        yield
    finally:
        for place, old in zip((1, 2), saved, strict=True):
            os.dup2(old, place)
            os.close(old)
        os.close(null)
