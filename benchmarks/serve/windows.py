"""Windows of load on servers that take turns: each round asks all of them, in an order drawn anew."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.serve.tree import spent
from weigh.choice import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.serve.running import Running
    from weigh.serve.platform._load import Generator

WARM = 0.2
"""Seconds of load before each window that are not counted."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen of one server in one window.

    Attributes:
        kind: of the load: connections of a closed loop as text, or another name.
        round: windows of one round and kind were measured one right after the other.
        seconds: from the first request to the last answer.
        times: of the requests that were answered with 200, in ms, float64.
        failed: requests that were not.
        cpu: seconds of processors that all processes of the server used.
    """

    server: str
    kind: str
    round: int
    seconds: float
    times: NDArray[np.float64]
    failed: int
    cpu: float

    @property
    def rate(self) -> float:
        """Requests answered with 200 a second."""
        return len(self.times) / self.seconds

    def quantile(self, q: float) -> float:
        """The least time within which the share `q` of the answered requests was answered, in ms."""
        return float(np.quantile(self.times, q, method="inverted_cdf"))


def measured(
    server: Running, kind: str, place: int, load: Generator, connections: int, seconds: float, rate: float = 0.0
) -> Window:
    """One window, after a moment of the same load that is not counted.

    Args:
        rate: requests a second of an open loop, drawn alike for all servers of a round; 0: a closed loop.

    Raises:
        UsageError: it is gone, or none of its requests was answered.
    """
    server.tree.look()
    try:
        load.run(server.url, server.requests, connections, seconds=WARM, rate=rate, seed=place + 1)
        before = server.tree.used()
        seen = load.run(server.url, server.requests, connections, seconds=seconds, rate=rate, seed=place)
    except RuntimeError as error:
        raise UsageError(f"{server.name}: {error}: {server.program.words()}") from None
    cpu, times = spent(before, server.tree.used()), seen.milliseconds()
    if not len(times):
        raise UsageError(
            f"{server.name} answered none of {len(seen.status)} requests of a window: {server.program.words()}"
        )
    return Window(server.name, kind, place, seen.seconds, times, seen.failed, cpu)


def played(
    servers: Sequence[Running],
    levels: Sequence[int],
    rounds: int,
    seconds: float,
    load: Generator,
    seed: int,
    resting: Container[str] = (),
) -> list[Window]:
    """Rounds of windows of a closed loop, at so many connections each.

    Args:
        resting: servers that are stopped while others are asked, as they work on when nobody asks them.
    """
    chance, found = np.random.default_rng(seed), []
    rests = [one for one in servers if one.name in resting]
    for server in rests:
        server.tree.rest()
    try:
        for place in range(rounds):
            for level in chance.permutation(levels):
                for which in chance.permutation(len(servers)):
                    server = servers[which]
                    if server in rests:
                        server.tree.go_on()
                    found.append(measured(server, str(level), place, load, int(level), seconds))
                    if server in rests:
                        server.tree.rest()
    finally:
        for server in rests:
            server.tree.go_on()
    return found
