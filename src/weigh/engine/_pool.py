"""The workers of one run on a Ray cluster: started, opened, and opened again when they were lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import Blocks, Halted, UsageError
from weigh.engine._actor import Actor, Opening, Setting
from weigh.engine._cluster import Lost, got

if TYPE_CHECKING:
    from ray import ObjectRef

LIVES = 3
"""Times that a worker may be lost before it has measured anything."""
_MOST = 8
"""Workers, where it is not said how many: more would measure much that a race which ends early has no use for."""
_PATIENCE = 60.0
"""Seconds to wait for Ray to start a worker."""


@dataclass(slots=True, eq=False)
class Worker:
    """An actor, and what it answers once it has opened the task."""

    actor: Any
    opened: ObjectRef[Blocks] | None = None
    ready: bool = False
    lives: int = LIVES


class Pool:
    """Actors of the cluster that this process has joined."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.opening = Opening("", {}, 0, "")
        self._patience = _PATIENCE

    def start(self, setting: Setting, many: int | None, cpus: float, gpus: float) -> None:
        """Have Ray place the actors, as far apart as it can, and wait for the first.

        Args:
            many: how many; one for each time that the cluster has the CPUs and GPUs for one, at most 8, when None.

        Raises:
            UsageError: the cluster has no room for any, or cannot start it.
        """
        import ray

        takes = {"CPU": cpus, "GPU": gpus}
        self._patience = setting.limits.open_seconds + _PATIENCE
        place = ray.remote(Actor).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self.workers = [Worker(place.remote(setting)) for _ in range(many or _room(takes))]
        begun = [worker.actor.__ray_ready__.remote() for worker in self.workers]
        done, _ = ray.wait(begun, num_returns=1, timeout=_PATIENCE)
        if not done:
            raise _crowded(takes)
        self.workers.insert(0, self.workers.pop(begun.index(done[0])))
        try:
            got(done[0])
        except Lost as lost:
            told = f"no worker could be started on the cluster: {lost}; install the same weigh on every node"
            raise UsageError(told) from None

    def open(self, opening: Opening) -> Blocks:
        """Have every worker open the task; what the first of them answers. For the others nobody waits."""
        self.opening = opening
        for worker in self.workers:
            worker.opened = worker.actor.open.remote(opening)
        first = self.ready()[0].opened
        assert first is not None
        return got(first)

    def ready(self) -> list[Worker]:
        """Those that have opened the task: after a wait where there is none.

        Raises:
            UsageError: the task cannot be opened, or a node has not what the question was asked with.
            Halted: no worker is left, or none has come back in time.
        """
        self._welcome(0.0)
        while not any(worker.ready for worker in self.workers):
            self._welcome(self._patience)
        return [worker for worker in self.workers if worker.ready]

    def _welcome(self, seconds: float) -> None:
        """Look who has opened the task; wait so long for one."""
        import ray

        waiting = {worker.opened: worker for worker in self.workers if worker.opened and not worker.ready}
        many = 1 if seconds else len(waiting)
        done = ray.wait(list(waiting), num_returns=many, timeout=seconds)[0] if waiting else []
        if seconds and not done:
            raise _stopped(f"none has come back within {seconds:g} s")
        for ref in done:
            try:
                got(ref)
                waiting[ref].ready = True
            except Lost as lost:
                self.lose(waiting[ref], str(lost))

    def lose(self, worker: Worker, why: str) -> None:
        """The worker is gone: Ray starts it again where it finds room, and has it open the task before anything else.

        Raises:
            Halted: it was the last that could be started again.
        """
        worker.lives -= 1
        if worker.lives > 0:
            worker.ready, worker.opened = False, worker.actor.open.options(max_task_retries=-1).remote(self.opening)
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


def _room(takes: dict[str, float]) -> int:
    """How many workers the cluster has room for when nothing else runs there."""
    import ray

    there = ray.cluster_resources()
    room = int(min([_MOST, *(there.get(name, 0.0) // each for name, each in takes.items() if each)]))
    if room < 1:
        raise _crowded(takes)
    return room


def _crowded(takes: dict[str, float]) -> UsageError:
    import ray

    have, free = ray.cluster_resources(), ray.available_resources()
    wanted = [f"{each:g} {name}" for name, each in takes.items() if each]
    found = [f"of its {have.get(name, 0.0):g} {name} {free.get(name, 0.0):g} are free" for name in takes if takes[name]]
    return UsageError(
        f"the cluster has no room for a worker, which takes {' and '.join(wanted)}: {', '.join(found)}; wait for what "
        "runs there to end (`ray status`), or add a node"
    )


def _stopped(why: str) -> Halted:
    return Halted(
        f"no worker of the cluster is left ({why}); see `ray status`, and type the same command again: what was "
        "kept is not measured twice"
    )
