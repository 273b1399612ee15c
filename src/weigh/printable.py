"""Text from outside (reasons, names, messages) as a terminal, a page or a JSON file can show it."""

from __future__ import annotations

import re

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def printable(text: str) -> str:
    r"""The text on one line: control characters and those that turn its direction become a space, and what UTF-8 cannot
    hold becomes ``\udc..``.

    >>> printable("a\x1b[31m red\nline \udcff")
    'a [31m red line \\udcff'
    """
    return _UNSEEN.sub(" ", text).encode("utf-8", "backslashreplace").decode()
