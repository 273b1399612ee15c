"""What runs in a worker process of a Ray cluster: a local engine, with its limits, its child and its watchdog."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from weigh.choice import Block, Blocks, Exhibit, Halted, UsageError
from weigh.decision import OptionLock
from weigh.engine import Limits, Trial
from weigh.engine.inline import EVERYWHERE
from weigh.engine.local import LocalEngine
from weigh.evidence import Where

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Opening(NamedTuple):
    """The task as it is opened, and its fingerprint where the question was asked."""

    choice: str
    task: dict[str, Any]
    seed: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What trials find where the question was asked, and shall find on every node.

    Args:
        folder: what relative paths start from.
        path: where modules are looked for.
        environment: variables; those of `THREADS` that are not among them are unset.
        weigh: the version.
    """

    limits: Limits
    threads: int
    folder: str
    path: tuple[str, ...]
    environment: Mapping[str, str]
    weigh: str

    @classmethod
    def here(cls, limits: Limits, threads: int, environment: Mapping[str, str]) -> Setting:
        """Of this process: its folder and modules, and the variables that concern weigh or threads."""
        own = {name: value for name, value in os.environ.items() if name.startswith("WEIGH_") or name in THREADS}
        path = tuple(entry or os.getcwd() for entry in sys.path)
        version = importlib.metadata.version("weigh")
        return cls(limits, threads, os.getcwd(), path, {**own, **environment}, version)


class Actor:
    """One worker of a cluster. A trial that crashes, hangs or leaks ends the child of its local engine, never this."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._node = _node()
        self._engine = LocalEngine(setting.limits, setting.threads)
        self._settled = False
        self._blocks: Blocks | None = None

    def load(self, choice: str, options: Sequence[str]) -> None:
        """Try whether the files of these options can be imported."""
        with self._named():
            self._settle()
            self._engine.load(choice, options)

    def open(self, opening: Opening) -> Blocks:
        """Load the task, unless it is; how many blocks it has."""
        with self._named():
            self._settle()
            if self._blocks is None:
                self._blocks = self._engine.open(*opening)
            return self._blocks

    def measure(self, opening: Opening, option: OptionLock, block: Block) -> Trial:
        """One trial, with the node on which it ran. Ray may have started this anew since the task was opened."""
        self.open(opening)
        with self._named():
            (trial,) = self._engine.run(block, [option])
        return trial.model_copy(update={"where": Where.here().model_copy(update={"node": self._node})})

    def exhibits(self, opening: Opening, options: Sequence[OptionLock]) -> list[Exhibit]:
        """Tables and curves for people."""
        self.open(opening)
        with self._named():
            return self._engine.exhibits(options)

    def _settle(self) -> None:
        if self._settled:
            return
        if (version := importlib.metadata.version("weigh")) != self._setting.weigh:
            raise Halted(f"weigh {version} is not the {self._setting.weigh} of the question; {EVERYWHERE}")
        try:
            os.chdir(self._setting.folder)
        except OSError as error:
            told = f"the folder {self._setting.folder} cannot be entered: {error.strerror}; {EVERYWHERE}"
            raise Halted(told) from None
        for name in THREADS:
            os.environ.pop(name, None)  # Ray sets one of them itself
        os.environ.update(self._setting.environment)
        sys.path[:] = dict.fromkeys([*self._setting.path, *sys.path])
        self._settled = True

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say on which node something cannot work."""
        try:
            yield
        except UsageError as error:
            raise type(error)(f"on the node {self._node} of the cluster: {error}") from None


def _node() -> str:
    """Ray's name for the machine: its address, unless it was started with a name."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return next((str(node["NodeName"]) for node in ray.nodes() if node["NodeID"] == own), own)
