"""How a server is set up, and where it keeps what it must not forget."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from weigh.choice import Frozen

FOLLOWED: dict[str, tuple[str, ...]] = {
    "serve/batching": (), "serve/platform": ("local",), "serve/runtime": ("eager", "onnx_runtime"),
}  # fmt: skip
"""Choices on how a model is served, and the options of each that a server is set up by; empty: all."""


def follows(choice: str, chosen: str) -> bool:
    """Whether `weigh serve` serves what a decision chose.

    >>> follows("compress/prune", "depth"), follows("serve/platform", "local"), follows("serve/platform", "ray_serve")
    (True, True, False)
    """
    if choice not in FOLLOWED:
        return choice.startswith("compress/")
    return not FOLLOWED[choice] or chosen.partition(":")[0] in FOLLOWED[choice]


class ServerSettings(Frozen):
    """All that a server is told."""

    model: str = Field(description="the model that is served first: a file, a folder or an MLflow URI")
    architecture: str = Field("", description="FILE:FUNCTION, what builds a net for weights alone")
    name: str = Field(description="what clients call the model")
    state: Path = Field(description="folder of logs, rollouts, token and routing; what is there is taken up again")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: a free one")
    threads: int = Field(1, ge=1, description="threads of one run of the model")
    placement: Literal["auto", "inline", "process"] = Field(
        "auto", description="run the champion in the router's process, or in one of its own; auto: inline where a "
        "run takes less than 2 ms",
    )  # fmt: skip
    batching: str = Field("single", description="an option of serve/batching, for models in a process of their own")
    queue: int = Field(256, ge=1, description="requests that may wait for one arm; more are refused (429)")
    deadline: float = Field(30.0, gt=0, description="seconds after which a request is given up (504)")
    max_body: int = Field(16_000_000, ge=1, description="greatest body of a request, in bytes")
    idle: float = Field(75.0, gt=0, description="seconds after which a silent connection is closed")
    drain: float = Field(30.0, ge=0, description="seconds that requests have to end when the server stops")
    unit_header: str = Field("x-unit-id", description="header that says whom a request is for")
    log_inputs: bool = Field(False, description="keep what went into the model in the log as well")
    log_most: int = Field(10_000_000_000, ge=1_000_000, description="bytes of log, beyond which the oldest files go")
    traces: str = Field("", description="OTLP/HTTP endpoint that gets traces; empty: none")
    private: bool = Field(False, description="predictions need the token too")

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(
                "it is part of URLs and of a folder's name: at most 64 letters, digits, dots, dashes and underscores, "
                f"beginning with a letter or digit, not {name[:80]!r}"
            )
        return name

    @property
    def logs(self) -> Path:
        """Where predictions, shadow copies and feedback are logged."""
        return self.state / "log"

    @property
    def routing(self) -> Path:
        """The file that says which arm gets what."""
        return self.state / "routing.json"
