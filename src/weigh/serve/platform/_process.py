"""Programs that run beside this process, and end with it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

TAIL = 600
"""Characters of a program's last words that are passed on."""


@final
class Program:
    """One program with all that it starts; it ends with this object, and with this process.

    Args:
        words: the command.
        log: the file that takes what it writes, to both streams.
        more: of the environment, beside this process's own.
        name: what it is called in messages.

    Its standard input is a pipe that ends when this process does, however it ends.
    """

    def __init__(self, words: Sequence[str], log: Path, more: Mapping[str, str] | None = None, name: str = "") -> None:
        self.log, self.name = log, name or Path(words[0]).name
        self.began = time.perf_counter()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(words), stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT,
                env={**os.environ, **(more or {})}, cwd=log.parent,
            )  # fmt: skip
        self._end = weakref.finalize(self, end, self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def told(self, pattern: str, seconds: float) -> re.Match[str]:
        """The first place in its output that matches, once it is there.

        Raises:
            RuntimeError: it ended before, or did not say so in time.
        """
        until = time.monotonic() + seconds
        while True:
            text = self.output()
            if found := re.search(pattern, text):
                return found
            self.need_alive()
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start within {seconds:g} s: {self.words()}")
            time.sleep(0.02)

    def need_alive(self) -> None:
        """Raises `RuntimeError` where it has ended."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with exit status {code}: {self.words()}")

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def words(self) -> str:
        """Its last words."""
        return " ".join(self.output().split())[-TAIL:] or "it wrote nothing"

    def close(self) -> None:
        self._end()


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and what it started: asked first, then made to."""
    import psutil

    from weigh.serve.platform._resident import family

    members = family(process.pid)
    for member in members[:1]:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, left = psutil.wait_procs(members, timeout=5)
    for member in left:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(left, timeout=5)
    with contextlib.suppress(OSError):
        process.communicate()
