"""One request on its way through a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weigh.server.arms import Arm
    from weigh.server.routing import Challenge


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and whom it met: what holds for it was settled when it came, whatever changes meanwhile.

    Attributes:
        id: by which feedback finds it.
        unit: whom it is for.
        arm: that it was assigned to.
        version: of that arm's model.
        challenge: the rollout that was under way.
        start, until: when it came, and its deadline, by `time.monotonic_ns`.
        explicit: it asked for a version, so that it was not assigned and shows nothing of the rollout.
    """

    id: str
    unit: str
    arm: Arm
    version: str
    challenge: Challenge | None
    start: int
    until: int
    explicit: bool = False

    def headers(self, version: str = "") -> tuple[tuple[bytes, bytes], ...]:
        """What an answer says of it; `version` of the model that gave it, where that is not the arm's."""
        return (
            (b"x-request-id", self.id.encode("ascii", "backslashreplace")), (b"x-weigh-arm", self.arm.name.encode()),
            (b"x-weigh-version", (version or self.version).encode()),
        )  # fmt: skip
