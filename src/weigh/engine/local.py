"""Trials in a child process with limits: a crash, a hang or a leak of an option is evidence, not an accident."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from weigh.choice import Block, Blocks, Exhibit, UsageError
from weigh.decision import OptionLock
from weigh.engine import Engine, Limits, Trial
from weigh.engine._process import Stopped, Worker
from weigh.engine.inline import shuffled

_EXHIBITS: TypeAdapter[list[Exhibit]] = TypeAdapter(list[Exhibit])


class LocalEngine(Engine):
    """One worker process, started again after a crash; all options of a block are measured in it, interleaved.

    Args:
        limits: what a trial may take before its worker is killed; those of the question when None.
        threads: threads of linear algebra in the worker, unless OMP_NUM_THREADS says another number: with more of them
            than free cores, small products take many times longer, and timings say little.
    """

    def __init__(self, limits: Limits | None = None, threads: int = 1) -> None:
        self.limits, self.threads, self._own = limits or Limits(), threads, limits is not None
        self._worker: Worker | None = None
        self._opening: dict[str, Any] = {}
        self._refused: dict[str, tuple[int, Trial]] = {}

    def within(self, limits: Limits) -> None:
        self.limits = self.limits if self._own else limits

    def load(self, choice: str, options: Sequence[str]) -> None:
        for option in options:
            request = {"do": "load", "choice": choice, "option": option}
            try:
                self._ask(request, "loaded", self.limits.open_seconds)
            except (Stopped, RuntimeError) as error:
                raise UsageError(
                    f"{option} cannot be imported: {error}; mend what it does when it is imported"
                ) from None

    def open(self, choice: str, task: dict[str, Any], seed: int, fingerprint: str = "") -> Blocks:
        """Load the task; how many blocks it has. For `fingerprint` see `InlineEngine.open`."""
        self._opening = {"do": "open", "choice": choice, "task": task, "seed": seed, "fingerprint": fingerprint}
        try:
            return Blocks.model_validate(self._ask(self._opening, "blocks", self.limits.open_seconds))
        except Stopped as stopped:
            raise UsageError(
                f"the task of {choice} could not be opened: {stopped.reason}; give it more with "
                "--limit prepare_seconds=...,memory_mb=..., or a smaller task"
            ) from None

    def run(self, block: Block, options: Sequence[OptionLock]) -> Iterator[Trial]:
        return (self._measure(option, block) for option in shuffled(options, block))

    def exhibits(self, options: Sequence[OptionLock]) -> list[Exhibit]:
        able = [option.model_dump(mode="json") for option in options if option.spec not in self._refused]
        request = {"do": "exhibits", "options": able}
        try:
            answer = self._ask(request, "exhibits", self.limits.open_seconds)
        except Stopped as stopped:
            raise RuntimeError(f"the exhibits could not be made: {stopped.reason}") from None
        return _EXHIBITS.validate_python(answer)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _measure(self, option: OptionLock, block: Block) -> Trial:
        since, refused = self._refused.get(option.spec, (0, None))
        if refused and block.index >= since:
            return refused
        try:
            return self._trial(option, block)
        except Stopped as stopped:
            if not stopped.killed:
                return self._refuse(_stopped(option, stopped), block.index)
        try:
            return self._trial(option, block)
        except Stopped as stopped:
            return self._refuse(_stopped(option, stopped), block.index)

    def _trial(self, option: OptionLock, block: Block) -> Trial:
        locked = option.model_dump(mode="json")
        seconds, more = self.limits.prepare_seconds, " to prepare it; --limit prepare_seconds=... gives it more"
        if refused := self._ask({"do": "prepare", "option": locked}, "refused", seconds, more):
            return self._refuse(Trial.model_validate(refused), 0)
        request = {"do": "trial", "option": locked, "block": block.model_dump()}
        answer = self._ask(request, "trial", self.limits.seconds, "; --limit seconds=... gives it more")
        trial = Trial.model_validate(answer)
        peak = self._worker.peak_mb if self._worker else 0.0
        return trial.model_copy(update={"memory_mb": max(trial.memory_mb, peak)})

    def _refuse(self, trial: Trial, since: int) -> Trial:
        """Not measured from that block on: an earlier one, if it is asked for later, is measured as in any order."""
        self._refused[trial.option] = since, trial
        return trial

    def _ask(self, request: dict[str, Any], key: str, seconds: float, more: str = "") -> Any:
        if self._worker is None:
            self._worker = Worker(self.limits.memory_mb, self.threads)
            if self._opening and request is not self._opening:
                self._ask(self._opening, "blocks", self.limits.open_seconds)
        try:
            return self._worker.ask(request, key, seconds, more)
        except Stopped:
            self._worker = None
            raise


def _stopped(option: OptionLock, stopped: Stopped) -> Trial:
    return Trial(option=option.spec, status=stopped.status, reason=stopped.reason)
