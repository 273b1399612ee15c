"""One worker process: what is asked of it, within limits; and nothing that it started outlives this process."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weigh.choice import Halted, UsageError
from weigh.data.cache import cache_folder, free_bytes
from weigh.engine import MAKE_ROOM
from weigh.engine._memory import family, resident_mb
from weigh.evidence import Status

if TYPE_CHECKING:
    from psutil import Process

_LOOK_EVERY = 0.2
"""Seconds between two looks at a worker's memory and at whether it lives."""
_ROOM = 1_000_000
"""Free bytes below which a disk is as good as full: libraries in C++ abort where they cannot write."""


class Stopped(Exception):
    """The worker did not answer: it hung, grew too large, or died.

    Attributes:
        status: what that is as evidence.
        reason: in words.
        killed: whether a signal ended it that may have come from outside, so that another try is fair.
    """

    def __init__(self, status: Status, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.status, self.reason, self.killed = status, reason, killed


class Worker:
    """A child process in a session of its own; a second one, the watchdog, ends that session when this process is gone.

    Args:
        memory_mb: what it may take together with all that it starts.
        threads: of linear algebra, unless the environment says another number.
    """

    def __init__(self, memory_mb: float, threads: int) -> None:
        self.memory_mb, self.peak_mb = memory_mb, 0.0
        self._buffer, self._looked = b"", 0.0
        self._family: list[Process] = []
        path = json.dumps([entry or os.getcwd() for entry in sys.path])
        several = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weigh.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**several, **os.environ, "WEIGH_WORKER_PATH": path},
            start_new_session=True,
        )
        self._watchdog = _watchdog(self._process.pid)

    def ask(self, request: Mapping[str, Any], key: str, seconds: float, more: str = "") -> Any:
        """The answer to one request.

        Args:
            key: of the answer.
            seconds: to wait at most.
            more: words for the message that it took too long.

        Raises:
            Stopped: there was none; the worker is closed.
            UsageError: what was asked cannot work.
            RuntimeError: the worker met an error that it did not expect.
        """
        self.peak_mb = 0.0
        try:
            answer = self._answer(request, key, seconds, more)
        except BaseException:
            self.close()
            raise
        if "error" in answer:
            raise UsageError(answer["error"]) if answer["kind"] == "usage" else RuntimeError(answer["error"])
        return answer[key]

    def close(self) -> None:
        """End it, and all that it started."""
        if self._watchdog is not None:
            self._watchdog.kill()
        self._kill_family()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL) if os.name == "posix" else self._process.kill()
        for process in (self._process, self._watchdog):
            if process is not None:
                process.wait()
                for stream in (process.stdin, process.stdout):
                    with contextlib.suppress(OSError):
                        stream and stream.close()

    def _kill_family(self) -> None:
        """What the worker started, also what left its session, as far as it was seen."""
        import psutil

        for process in {*self._family, *family(self._process.pid)}:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _answer(self, request: Mapping[str, Any], key: str, seconds: float, more: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        line = self._line(seconds, more)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not (key in answer or {"error", "kind"} <= set(answer)):
            raise Stopped(
                "failed", f"wrote into a file descriptor that is not its own, where weigh reads answers: {line[:60]!r}"
            )
        return answer

    def _line(self, seconds: float, more: str) -> bytes:
        """The next answer, while the worker keeps within its limits."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if ready.select(timeout=_LOOK_EVERY):
                    chunk = os.read(self._process.stdout.fileno(), 1 << 20)
                    if not chunk:
                        raise self._death()
                    self._buffer += chunk
                elif self._process.poll() is not None:
                    raise self._death()
                if time.monotonic() > end and b"\n" not in self._buffer:
                    raise Stopped("timeout", f"no answer within {seconds:g} s{more}")
                self._look()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _look(self) -> None:
        """Raises `Stopped` when there is too much memory in use."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        self._family = family(self._process.pid) or self._family
        used = resident_mb(self._family)
        self.peak_mb = max(self.peak_mb, used)
        if used > self.memory_mb:
            raise Stopped("failed", f"used {used:,.0f} MB of memory, over the limit of {self.memory_mb:,.0f} MB")

    def _death(self) -> Stopped:
        code = self._process.wait()
        if code >= 0:
            return Stopped("failed", f"the worker ended with exit status {code}")
        if free_bytes(cache_folder()) < _ROOM:
            raise Halted(f"the disk of {cache_folder()} is full, and the worker ended by signal {-code}; {MAKE_ROOM}")
        outside = signal.Signals(-code).name in ("SIGKILL", "SIGTERM")
        return Stopped("failed", f"the worker was killed by signal {-code}", killed=outside)


def _watchdog(group: int) -> subprocess.Popen[bytes] | None:
    """A process that waits for the end of this one, however it comes, and then ends the group."""
    shell = shutil.which("sh") if os.name == "posix" else None
    if shell is None:
        return None
    return subprocess.Popen(
        [shell, "-c", 'read _; kill -s KILL -- "-$0"', str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
