"""What a benchmark may be asked on its command line, and how it refuses what cannot work: in a line, with status 2."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from weigh.choice import UsageError


def at_least(least: int) -> Callable[[str], int]:
    """A whole number that is no smaller, as a `type` of argparse.

    >>> at_least(1)("20")
    20
    """

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no whole number; type one such as {max(least, 10)}") from None
        if number < least:
            raise ArgumentTypeError(f"{number} is too small; type {least} or more")
        return number

    return read


@contextmanager
def told() -> Iterator[None]:
    """Where what was asked cannot work, the message alone is printed, and the status is 2."""
    try:
        yield
    except UsageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
