"""Trials in a child process with limits: a crash, a hang or a leak of an option is evidence, not an accident."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from weigh.choice import Block, Blocks, Exhibit, UsageError
from weigh.decision import OptionLock
from weigh.engine import Engine, Limits, Trial
from weigh.engine.inline import shuffled

_EXHIBITS: TypeAdapter[list[Exhibit]] = TypeAdapter(list[Exhibit])


class Stopped(Exception):
    """The worker did not answer: it hung, grew too large, or died."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class LocalEngine(Engine):
    """One worker process, started again after a crash; all options of a block are measured in it, interleaved.

    Args:
        limits: what a trial may take before its worker is killed.
        threads: threads of linear algebra in the worker, unless OMP_NUM_THREADS says another number: with more of them
            than free cores, small products take many times longer, and timings say little.
    """

    def __init__(self, limits: Limits | None = None, threads: int = 1) -> None:
        self.limits, self.threads = limits or Limits(), threads
        self._process: subprocess.Popen[bytes] | None = None
        self._opening: dict[str, Any] = {}
        self._buffer = b""
        self._refused: dict[str, Trial] = {}

    def open(self, choice: str, task: dict[str, Any], seed: int) -> Blocks:
        self._opening = {"do": "open", "choice": choice, "task": task, "seed": seed}
        try:
            return Blocks.model_validate(self._start())
        except Stopped as stopped:
            raise UsageError(
                f"the task of {choice} could not be opened: {stopped.reason}; give it more with "
                "--limit prepare_seconds=...,memory_mb=..., or a smaller task"
            ) from None

    def run(self, block: Block, options: Sequence[OptionLock]) -> Iterator[Trial]:
        return (self._measure(option, block) for option in shuffled(options, block))

    def exhibits(self, options: Sequence[OptionLock]) -> list[Exhibit]:
        able = [option.model_dump(mode="json") for option in options if option.spec not in self._refused]
        try:
            answer = self._ask({"do": "exhibits", "options": able}, self.limits.prepare_seconds)
        except Stopped as stopped:
            raise RuntimeError(f"the exhibits could not be made: {stopped.reason}") from None
        return _EXHIBITS.validate_python(answer["exhibits"])

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    stream and stream.close()
            self._process = None

    def _measure(self, option: OptionLock, block: Block) -> Trial:
        if option.spec in self._refused:
            return self._refused[option.spec]
        locked = option.model_dump(mode="json")
        try:
            answer = self._ask({"do": "prepare", "option": locked}, self.limits.prepare_seconds)
            if answer["refused"]:
                return self._refuse(Trial.model_validate(answer["refused"]))
            request = {"do": "trial", "option": locked, "block": block.model_dump()}
            return Trial.model_validate(self._ask(request, self.limits.seconds)["trial"])
        except Stopped as stopped:
            trial = Trial.model_validate({"option": option.spec, "status": stopped.status, "reason": stopped.reason})
            return self._refuse(trial)

    def _refuse(self, trial: Trial) -> Trial:
        self._refused[trial.option] = trial
        return trial

    def _start(self) -> dict[str, Any]:
        self._buffer = b""
        path = json.dumps([entry or os.getcwd() for entry in sys.path])
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        environment = {**threads, **os.environ, "WEIGH_WORKER_PATH": path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weigh.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        return self._exchange(self._opening, self.limits.prepare_seconds)

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        if self._process is None:
            self._start()
        return self._exchange(request, seconds)

    def _exchange(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(process, seconds))
        except (BrokenPipeError, Stopped) as error:
            stopped = error if isinstance(error, Stopped) else Stopped("failed", self._death(process))
            self.close()
            raise stopped from None
        if "error" in answer:
            raise UsageError(answer["error"]) if answer["kind"] == "usage" else RuntimeError(answer["error"])
        return answer

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> bytes:
        """The next answer, while the worker keeps within its limits."""
        assert process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if ready.select(timeout=0.2):
                    chunk = os.read(process.stdout.fileno(), 1 << 20)
                    if not chunk:
                        raise Stopped("failed", self._death(process))
                    self._buffer += chunk
                elif time.monotonic() > end:
                    raise Stopped("timeout", f"no answer within {seconds:g} s; raise the limit if it needs longer")
                self._check_memory(process)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _check_memory(self, process: subprocess.Popen[bytes]) -> None:
        import psutil

        try:
            used = psutil.Process(process.pid).memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            return
        if used > self.limits.memory_mb:
            raise Stopped("failed", f"used {used:,.0f} MB of memory, over the limit of {self.limits.memory_mb:,.0f} MB")

    @staticmethod
    def _death(process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        return f"the worker was killed by signal {-code}" if code < 0 else f"the worker ended with exit status {code}"
