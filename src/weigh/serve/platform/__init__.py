"""serve/platform: which platform should serve the model?

Options are servers. Each is started for real, gives the model's answers over HTTP, and is put under load beside the
others: windows of the same requests over kept connections, in turn, each connection sending again as soon as it was
answered. What a change of the model costs those who ask meanwhile is measured too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Option, Task
from weigh.model.task import ModelTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class PlatformTask(ModelTask):
    """A model of rows, rows like those that it will be asked about, and the load under which it will serve."""

    connections: int = Field(16, ge=1, description="kept open, each with one request on its way at any time")
    requests: int = Field(200, ge=1, description="that are timed in one window of load")
    warmup: int = Field(32, ge=0, description="requests before the timed ones, in each window")
    payloads: int = Field(64, ge=1, description="different requests of a window, sent in turn")
    rounds: int = Field(200, ge=1, description="windows of the race, of each platform; half as many more confirm")
    samples: int = Field(
        20, ge=1, description="requests of a window whose times count for p99, spread evenly over the window"
    )
    parity_rows: int = Field(64, ge=1, description="rows on which a platform must answer as the model run directly")
    tolerance: float = Field(
        1e-4, gt=0, description="greatest difference from the model run directly, relative to the greatest answer"
    )
    swap_seconds: float = Field(1.0, gt=0, description="of load before and after the model is changed under load")
    patience: float = Field(30.0, gt=0, description="seconds after which a request counts as failed")
    start_seconds: float = Field(180.0, gt=0, description="that a platform may take until its first answer")


@dataclass(frozen=True, slots=True)
class Served:
    """What is to be served.

    Attributes:
        source: the checked model; its first output is the one that is asked for.
        name: of the model, in letters, digits and dashes.
        threads: of one run of the model.
        rows: of one request.
        seconds: within which the first answer must come.
        example: one request's inputs.
    """

    source: Source
    name: str
    threads: int
    rows: int
    seconds: float
    example: Mapping[str, NDArray[Any]]


class Running(ABC):
    """A server that runs, and answers.

    Attributes:
        url: where; scheme, host and port.
    """

    url: str

    @abstractmethod
    def request(self, feed: Mapping[str, NDArray[Any]]) -> bytes:
        """A whole HTTP request for the rows of a feed (input name -> values, the first axis being rows)."""

    @abstractmethod
    def answer(self, body: bytes) -> NDArray[np.float32]:
        """What the body of an answer says: scores, shape (rows, width)."""

    @abstractmethod
    def swap(self, source: Source) -> None:
        """Put another version of the model in the place of the one that answers, while requests come.

        Returns once new requests meet the other version.
        """

    @abstractmethod
    def roots(self) -> list[int]:
        """The process ids from which all processes of the platform on this machine descend."""

    def memory_mb(self) -> float:
        """Resident memory of all its processes in MB, those on other machines too; what several share counts once."""
        from weigh.serve.platform._resident import resident_mb

        return resident_mb(self.roots())

    @abstractmethod
    def close(self) -> None:
        """End all that was started."""


class Platform(Option):
    """An option of serve/platform: starts a server for a model."""

    @abstractmethod
    def start(self, served: Served, folder: Path) -> Running:
        """Start the server, and return once it has answered.

        Args:
            folder: where files may be written; it exists, and stays as long as the server.

        Raises:
            Unfit: the platform cannot serve the model, with the reason.
            RuntimeError: it did not start; the text has its last words.
        """


def _exact(name: str, unit: str, meaning: str) -> Measure:
    return Measure(name=name, unit=unit, better="lower", kind="exact", meaning=meaning)


THROUGHPUT = Measure(
    name="throughput",
    unit="requests/s",
    better="higher",
    kind="time",
    meaning="requests answered a second in one window: `connections` kept connections, each of which sends its next "
    "request as soon as it was answered; all platforms take turns in random order with the same requests",
    tolerance=0.05,
    caveat="the process that sends the requests shares this machine's cores with the servers, as it does for all",
)
P99 = Measure(
    name="p99",
    unit="ms",
    better="lower",
    kind="quantile",
    q=0.99,
    meaning="time that 99 % of requests stay under at `connections` connections; of each window `samples` of them "
    "count, so that a limit on it takes several hundred of them to certify",
    tolerance=0.05,
    caveat="requests of one window share what disturbs the machine just then, so that they are alike",
)
ERRORS = Measure(
    name="errors",
    unit="share",
    better="lower",
    kind="mean",
    meaning="share of a window's requests that were not answered with 200: refused, late, or their connection broke",
)
PARITY = _exact(
    "parity",
    "relative",
    "greatest difference of its answers from the model run directly, on `parity_rows` rows, relative to the greatest "
    "answer; a platform beyond the tolerance fails",
)
STARTUP = _exact("startup", "s", "from the start of its first process to its first answer, its files being ready")
MEMORY = _exact(
    "memory",
    "MB",
    "resident memory of all its processes after the first load; what several of them share counts once",
)
SWAP_FAILED = _exact(
    "swap_failed", "requests", "requests that failed while the model was changed under the same load as in a window"
)
SWAP_P99 = _exact(
    "swap_p99",
    "ms",
    "time that 99 % of the requests stayed under that were on their way while the model was changed",
)


@final
class Serve(Choice):
    """serve/platform"""

    name: ClassVar[str] = "serve/platform"
    question: ClassVar[str] = "Which platform should serve the model?"
    measures: ClassVar[tuple[Measure, ...]] = (
        THROUGHPUT, P99, ERRORS, PARITY, STARTUP, MEMORY, SWAP_FAILED, SWAP_P99,
    )  # fmt: skip
    cost: ClassVar[str] = "memory"
    baseline: ClassVar[str] = "local"
    task: ClassVar[type[Task]] = PlatformTask
    option: ClassVar[type[Option]] = Platform
    assumptions: ClassVar[Mapping[str, str]] = {
        "the machine that serves is like the one that measured": "weigh again where it serves: what a platform adds to "
        "a request is work of processors, and how many there are decides who waits for whom",
        "the load is like the one that was put on here": "requests a second and connections that serving counts, "
        "against `connections` of this decision",
        "requests are as large as those here": "bytes of a request that serving logs: parsing grows with them",
        "the platform's version stays": "its version in the image that serves; weigh again before another is taken",
    }

    def open(self, task: PlatformTask, seed: int) -> Bench:
        from weigh.serve.platform._bench import PlatformBench

        return PlatformBench(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> PlatformTask:
        from weigh.serve.platform._planted import write_toy

        return write_toy(folder, seed)

    def loser(self) -> Platform:
        from weigh.serve.platform._planted import Delayed

        return Delayed()

    def twins(self) -> tuple[Platform, Platform]:
        from weigh.serve.platform._planted import Twin

        return Twin(seed=1), Twin(seed=2)
