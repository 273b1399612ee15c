"""Programs that run beside this process, and end with it."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

PATIENCE = 20.0
"""Seconds that a program which answers has to end by itself."""
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
        answers: it answers lines on its standard output, see `ask`; its log has its errors then.

    Its standard input is a pipe that ends when this process does, however it ends.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        more: Mapping[str, str] | None = None,
        name: str = "",
        answers: bool = False,
    ) -> None:
        self.log, self.name = log, name or Path(words[0]).name
        self.began = time.perf_counter()
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE if answers else stream, stderr=stream,
                env={**os.environ, **(more or {})}, cwd=log.parent,
            )  # fmt: skip
        self._end = weakref.finalize(self, end, self._process, PATIENCE if answers else 0.0)

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

    def ask(self, line: str, seconds: float) -> bytes:
        """The line with which it answers a line.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # what it wrote before it ended says more
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            came = self._process.stdout.readline() if ready.select(seconds) else b""
        if not came:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self.need_alive()
            raise RuntimeError(f"{self.name} did not answer within {seconds:g} s: {self.words()}")
        return came

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


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Stop a process and what it started: its input ends, then it is asked, then made to.

    Args:
        patience: seconds that it has to end by itself with its input.
    """
    import psutil

    from weigh.serve.platform._resident import family

    if patience and process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    members = family(process.pid)
    for member in members[:1]:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, left = psutil.wait_procs(members, timeout=5)
    for member in left:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(left, timeout=5)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
