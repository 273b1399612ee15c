"""Where trials run, as it is typed: on this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from weigh.engine import Engine

ENGINES = ("local", "ray")
_F = TypeVar("_F", bound=Callable[..., Any])


class Place(NamedTuple):
    """The engine by name, and of a cluster its address and how many workers to have there."""

    engine: str = "local"
    address: str = ""
    workers: int | None = None

    def said(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}

    def made(self) -> Engine | None:
        """The engine; None stands for local processes."""
        if self.engine == "local":
            return None
        from weigh.engine.ray import RayEngine

        return RayEngine(self.address, workers=self.workers)


def engine_flags(command: _F) -> _F:
    """The flags that say where trials run."""
    for flag in (
        click.option("--workers", type=int, metavar="N", help="Of --engine ray: one a CPU, at most 8, if not given."),
        click.option("--address", metavar="HOST:PORT", help="Of --engine ray; 'local' starts Ray on this machine."),
        click.option("--engine", type=click.Choice(ENGINES), help="ray: on a Ray cluster.  [default: local]"),
    ):
        command = flag(command)
    return command


def place(typed: Mapping[str, Any], kept: Mapping[str, Any]) -> Place:
    """Where trials run: what was typed goes before what a file says.

    Raises:
        UsageError: a cluster is described, but not asked for.
    """
    from weigh.choice import UsageError

    names = Place._fields
    said = {name: kept[name] for name in names if kept.get(name) is not None}
    said |= {name: typed[name] for name in names if typed[name] is not None}
    made = Place(**said)
    if made.engine not in ENGINES:
        raise UsageError(f"there is no engine '{made.engine}'; type local or ray")
    if made.engine == "local" and (odd := [name for name in ("address", "workers") if name in said]):
        raise UsageError(f"--{odd[0]} is of a Ray cluster, and trials run on this machine; add --engine ray")
    return made
