"""Evidence: what was measured, never edited afterwards."""

from __future__ import annotations

import functools
import os
import platform
from typing import Any, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from weigh.choice import Frozen, content_digest

Status: TypeAlias = Literal["measured", "unfit", "failed", "timeout"]


class Where(Frozen):
    """The machine and versions under which something was measured."""

    machine: str
    cores: int
    python: str
    weigh: str
    node: str = Field("", description="the machine's name in its cluster; empty where there is none")

    @model_serializer(mode="wrap")
    def _without_no_node(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was measured in no cluster keeps the digest that it had before there were any."""
        return {name: value for name, value in plain(self).items() if value or name != "node"}

    @classmethod
    @functools.cache
    def here(cls) -> Where:
        """This process's machine."""
        from importlib.metadata import version

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
        machine = f"{platform.system()} {platform.machine()}"
        return cls(machine=machine, cores=cores, python=platform.python_version(), weigh=version("weigh"))


class Evidence(Frozen):
    """One option on one block: what was measured, what it took, and where it ran.

    `values` holds one number (exact measures) or a list with one number a unit of the block.
    """

    lock: str = Field(description="digest of the lock under which it was measured")
    option: str = Field(description="the option as typed: name:setting=value")
    settings: dict[str, Any]
    block: int = Field(ge=0)
    seed: int
    values: dict[str, float | list[float]] = {}
    status: Status = "measured"
    reason: str = ""
    seconds: float = Field(0.0, ge=0)
    memory_mb: float = Field(0.0, ge=0, description="most resident memory of the worker and of all that it started")
    where: Where
    at: str = Field(description="UTC time, ISO 8601")


def evidence_digest(rows: list[Evidence]) -> str:
    """One digest for many rows, whatever their order."""
    return content_digest(sorted(row.digest() for row in rows))
