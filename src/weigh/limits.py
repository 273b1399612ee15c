"""What one trial may take: fixed in the lock, since a timeout is evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from weigh.choice import Frozen


class Limits(Frozen):
    """What one trial may take before it is stopped and recorded as a timeout or a failure."""

    seconds: float = Field(300.0, gt=0, description="wall-clock seconds a trial (its preparation apart)")
    prepare_seconds: float = Field(
        1800.0,
        gt=0,
        description="wall-clock seconds to prepare one option; as many as a trial where only those are given",
    )
    memory_mb: float = Field(8192.0, gt=0, description="memory of the worker and of all that it started, MB")

    @model_validator(mode="before")
    @classmethod
    def _prepared_within(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "seconds" in given and "prepare_seconds" not in given:
            return {**given, "prepare_seconds": given["seconds"]}
        return given

    @property
    def open_seconds(self) -> float:
        """Wall-clock seconds to start a worker and open the task in it: at least a minute."""
        return max(self.prepare_seconds, 60.0)

    def __str__(self) -> str:
        """What differs from the defaults, as it is typed after `--limit`.

        >>> str(Limits(seconds=60)), str(Limits())
        ('seconds=60,prepare_seconds=60', '')
        """
        return ",".join(
            f"{name}={int(value) if value == int(value) else value!r}"
            for name, value in self.model_dump(exclude_defaults=True).items()
        )
