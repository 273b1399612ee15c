"""Command lines to type: folded so that a shell reads them, with the ledger and the folder that they mean."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from weigh.decision import Lock
from weigh.ledger import DEFAULT

_A_FILE = re.compile(r"(?!/)(?:[^\s:]+/[^\s:]+|[^\s:/]+\.[a-z0-9]{1,8})")


def typed(*words: str, ledger: str = DEFAULT) -> str:
    """A command line of weigh, which names the ledger unless it is the usual one.

    >>> typed("explain", "3f2a9c", ledger="out/my ledger.db")
    "weigh explain 3f2a9c --ledger 'out/my ledger.db'"
    """
    return shlex.join(["weigh", *words, *(["--ledger", ledger] if ledger != DEFAULT else [])])


def folder(lock: Lock) -> str:
    """In which folder a question can be asked again, in words; empty where its task names no relative path."""
    values = [value for field in lock.task.values() for value in (field if isinstance(field, list) else [field])]
    files = [value for value in values if isinstance(value, str) and _A_FILE.fullmatch(value)]
    return f"in the folder that holds {Path(files[0]).parts[0]}" if files else ""


def folded(line: str, width: int = 76) -> str:
    """A command over lines of at most that width, as a shell reads it; a flag and its value stay together.

    >>> print(folded("weigh decide monitor/drift time=at --option ks --require 'power >= 0.5'", 44))
    weigh decide monitor/drift time=at \\
        --option ks --require 'power >= 0.5'
    """
    groups: list[list[str]] = []
    for word in shlex.split(line.replace("\\\n", " ")):
        if groups and len(groups[-1]) == 1 and groups[-1][0].startswith("--") and not word.startswith("--"):
            groups[-1].append(word)
        else:
            groups.append([word])
    lines = [""]
    for text in map(shlex.join, groups):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(text) > width - 2:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {text}" if lines[-1] else text
    return " \\\n".join(lines)
