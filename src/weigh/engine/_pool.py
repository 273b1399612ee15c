"""The workers of one run on a Ray cluster: started, opened, and opened again when they were lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weigh.choice import Blocks, Halted, UsageError
from weigh.engine._actor import Actor, Setting
from weigh.engine._cluster import Lost, got

if TYPE_CHECKING:
    from ray import ObjectRef

_MOST = 8
"""Workers, where it is not said how many: more would measure much that a race which ends early has no use for."""
_PATIENCE = 60.0
"""Seconds to wait for Ray to start a worker."""
LIVES = 3
"""Times that a worker may be lost before it has measured anything."""


@dataclass(slots=True, eq=False)
class Worker:
    """An actor, and what it answers once it has opened the task."""

    actor: Any
    opened: ObjectRef[Blocks] | None = None
    ready: bool = False
    lives: int = LIVES


@dataclass(slots=True)
class Pool:
    """Actors of a cluster that this process has joined.

    Args:
        many: how many; one for each time that the cluster has `cpus` CPUs (and `gpus` GPUs), at most 8, when None.
    """

    setting: Setting
    many: int | None
    cpus: float
    gpus: float
    workers: list[Worker] = field(default_factory=list)
    opening: tuple[Any, ...] = ()

    def start(self) -> None:
        """Have Ray place the actors, as far apart as it can, and wait for the first.

        Raises:
            UsageError: the cluster has no room for any.
        """
        import ray

        place = ray.remote(Actor).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD"
        )
        self.workers = [Worker(place.remote(self.setting)) for _ in range(self.many or self._room())]
        begun = [worker.actor.__ray_ready__.remote() for worker in self.workers]
        done, _ = ray.wait(begun, num_returns=1, timeout=_PATIENCE)
        if not done:
            raise self._crowded(f"none became free within {_PATIENCE:g} s")
        first = self.workers.pop(begun.index(done[0]))
        self.workers.insert(0, first)
        try:
            got(done[0])
        except Lost as lost:
            told = f"no worker could be started on the cluster: {lost}; install the same weigh on every node"
            raise UsageError(told) from None

    def _room(self) -> int:
        import ray

        there = ray.cluster_resources()
        rooms = [there.get(name, 0.0) // each for name, each in (("CPU", self.cpus), ("GPU", self.gpus)) if each]
        room = int(min([*rooms, _MOST]))
        if room < 1:
            raise self._crowded("it never has")
        return room

    def _crowded(self, why: str) -> UsageError:
        import ray

        have = {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")}
        free = {name: ray.available_resources().get(name, 0.0) for name in have}
        wants = f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")
        return UsageError(
            f"the cluster has no room for a worker, which takes {wants}: {free['CPU']:g} of its {have['CPU']:g} CPUs "
            f"and {free['GPU']:g} of its {have['GPU']:g} GPUs are free, and {why}; wait for what runs there to end "
            "(`ray status`), or add a node"
        )

    def open(self, *opening: Any) -> Blocks:
        """Have every worker open the task; what the first of them answers. For the others nobody waits."""
        self.opening = opening
        for worker in self.workers:
            self._greet(worker)
        first = self.ready()[0].opened
        assert first is not None
        return got(first)

    def _greet(self, worker: Worker) -> None:
        worker.ready = False
        worker.opened = worker.actor.open.options(max_task_retries=0).remote(*self.opening)

    def ready(self) -> list[Worker]:
        """Those that have opened the task: after a wait where there is none.

        Raises:
            UsageError: the task cannot be opened, or a node has not what the question was asked with.
            Halted: no worker is left, or none has come back in time.
        """
        for worker in self._answered(0.0):
            self._welcome(worker)
        while not any(worker.ready for worker in self.workers):
            patience = self.setting.limits.open_seconds + _PATIENCE
            if not (answered := self._answered(patience)):
                raise _stopped(f"none has come back within {patience:g} s")
            for worker in answered:
                self._welcome(worker)
        return [worker for worker in self.workers if worker.ready]

    def _answered(self, seconds: float) -> list[Worker]:
        """Those that have opened the task, or could not, since we looked."""
        import ray

        waiting = {worker.opened: worker for worker in self.workers if worker.opened and not worker.ready}
        if not waiting:
            return []
        many = 1 if seconds else len(waiting)
        done, _ = ray.wait(list(waiting), num_returns=many, timeout=seconds)
        return [waiting[ref] for ref in done]

    def _welcome(self, worker: Worker) -> None:
        assert worker.opened is not None
        try:
            got(worker.opened)
            worker.ready = True
        except Lost as lost:
            self.lose(worker, str(lost))

    def lose(self, worker: Worker, why: str) -> None:
        """The worker is gone: once Ray has started it again, it opens the task again.

        Raises:
            Halted: it was the last that could be started again.
        """
        worker.lives -= 1
        if worker.lives > 0:
            self._greet(worker)
            return
        self.workers.remove(worker)
        if not self.workers:
            raise _stopped(f"the last one ended {LIVES} times: {why}")

    def close(self) -> None:
        """End them, with all that they started."""
        import ray

        for worker in self.workers:
            ray.kill(worker.actor)
        self.workers = []


def _stopped(why: str) -> Halted:
    return Halted(
        f"no worker of the cluster is left ({why}); see `ray status`, and type the same command again: what was "
        "kept is not measured twice"
    )
