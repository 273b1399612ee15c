"""Trials on a Ray cluster: blocks are spread over its workers, the options of one block share one.

Ray places, queues and restarts; each of its workers holds a `LocalEngine`. Several blocks are measured at once but told
in the order in which they are asked for, so that a race judges what it would have judged on one machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh import catalog
from weigh.choice import Block, Blocks, Exhibit, UsageError
from weigh.decision import OptionLock
from weigh.engine import KEEP_EVERY, Coming, Engine, Limits, Trial
from weigh.engine._actor import Opening, Setting
from weigh.engine._cluster import Lost, got, join
from weigh.engine._pool import LIVES, Pool, Worker
from weigh.engine.inline import shuffled

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(slots=True, eq=False)
class _Group:
    """The trials of one block, all on one worker: by option, in the order in which they run."""

    worker: Worker
    trials: dict[str, ObjectRef[Trial]]


class RayEngine(Engine):
    """Workers of a Ray cluster, each with the task opened. What a lost one had in hand is measured again by another.

    Args:
        address: ``host:port`` of the cluster's head, or ``local`` to start Ray on this machine alone; RAY_ADDRESS where
            it is empty. Not looked at where this process has joined a cluster.
        limits: what a trial may take; those of the question when None.
        threads: threads of linear algebra in a worker, unless OMP_NUM_THREADS says another number.
        workers: how many; one a CPU of the cluster, at most 8, when None. Blocks that one machine measures at once
            disturb each other: where times are measured, as many as there are machines.
        cpus: CPUs that Ray sets aside for a worker.
        gpus: GPUs that Ray sets aside for a worker.
        environment: variables that trials find, beside WEIGH_* and OMP_NUM_THREADS as they are here.
    """

    def __init__(
        self,
        address: str = "",
        limits: Limits | None = None,
        threads: int = 1,
        *,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(
                f"{workers} workers measure nothing: give at least 1, or leave workers out for one a CPU of the cluster"
            )
        self.address = address or os.environ.get("RAY_ADDRESS", "")
        self.limits, self.threads, self._own = limits or Limits(), threads, limits is not None
        self.workers, self.cpus, self.gpus, self.environment = workers, cpus, gpus, dict(environment or {})
        self._pool = Pool()
        self._groups: dict[int, _Group] = {}
        self._unable: set[str] = set()
        self._joined = False

    def within(self, limits: Limits) -> None:
        self.limits = self.limits if self._own else limits

    @property
    def ahead(self) -> int:
        return 2 * len(self._pool.ready())

    def load(self, choice: str, options: Sequence[str]) -> None:
        if options:
            self._start()
            got(self._pool.workers[0].actor.load.remote(choice, list(options)))

    def open(self, choice: str, task: dict[str, Any], seed: int) -> Blocks:
        self._start()
        fingerprint = catalog.choice(choice).task.model_validate(task).fingerprint()
        return self._pool.open(Opening(choice, task, seed, fingerprint))

    def expect(self, coming: Coming) -> None:
        wanted = {block.index for block, _ in coming}
        for index in list(self._groups):
            if index not in wanted and _pending(self._groups[index]):
                self._forget(index)
        for block, options in coming:
            self._group(block, options)

    def run(self, block: Block, options: Sequence[OptionLock]) -> Iterator[Trial]:
        """Measure the options on one block: told whole, and all of one worker, unless it takes over `KEEP_EVERY`."""
        left, start = {option.spec: option for option in options}, time.monotonic()
        while left:
            group = self._group(block, list(left.values()))
            held: list[Trial] = []
            try:
                for name in [name for name in group.trials if name in left]:
                    held.append(self._trial(group, name))
                    if time.monotonic() - start > KEEP_EVERY or len(held) == len(left):
                        for trial in held:
                            del left[trial.option]
                        yield from held
                        held = []
            except Lost as lost:
                self._lose(group.worker, str(lost))
        self._groups.pop(block.index, None)

    def exhibits(self, options: Sequence[OptionLock]) -> list[Exhibit]:
        able = [option for option in options if option.spec not in self._unable]
        while True:
            worker = self._pool.ready()[0]
            try:
                return got(worker.actor.exhibits.remote(self._pool.opening, able))
            except Lost as lost:
                self._lose(worker, str(lost))

    def close(self) -> None:
        if self._pool.workers:
            self._pool.close()
        if self._joined:
            import ray

            ray.shutdown()
        self._groups, self._joined = {}, False

    def _start(self) -> None:
        if not self._pool.workers:
            self._joined = join(self.address)
            setting = Setting.here(self.limits, self.threads, self.environment)
            self._pool.start(setting, self.workers, self.cpus, self.gpus)

    def _group(self, block: Block, options: Sequence[OptionLock]) -> _Group:
        """The trials of a block, begun where they are not."""
        group = self._groups.get(block.index)
        if group and all(option.spec in group.trials for option in options):
            return group
        self._forget(block.index)
        worker = min(self._pool.ready(), key=self._busy)
        measure, opening = worker.actor.measure, self._pool.opening
        trials = {option.spec: measure.remote(opening, option, block) for option in shuffled(options, block)}
        self._groups[block.index] = made = _Group(worker, trials)
        return made

    def _busy(self, worker: Worker) -> int:
        return sum(_pending(group) for group in self._groups.values() if group.worker is worker)

    def _trial(self, group: _Group, name: str) -> Trial:
        trial = got(group.trials[name])
        group.worker.lives = LIVES
        if trial.status != "measured":
            self._unable.add(name)
        return trial

    def _lose(self, worker: Worker, why: str) -> None:
        for index, group in list(self._groups.items()):
            if group.worker is worker:
                self._forget(index)
        self._pool.lose(worker, why)

    def _forget(self, index: int) -> None:
        """What is begun on a block is not wanted any more; a trial that runs already comes to its end unheard."""
        import ray

        if group := self._groups.pop(index, None):
            for trial in group.trials.values():
                ray.cancel(trial)


def _pending(group: _Group) -> int:
    import ray

    trials = list(group.trials.values())
    return len(ray.wait(trials, num_returns=len(trials), timeout=0)[1])
