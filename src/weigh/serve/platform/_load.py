"""Load on a server: requests over kept connections, sent by a process of its own, and what was seen of each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit

from weigh.serve.platform import _generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOST, LATE = _generator.LOST, _generator.LATE
PATIENCE = 30.0
"""Seconds after which a request counts as not answered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the requests of one load, in the order in which they were answered.

    Attributes:
        due: when each was sent (of an open loop: was due), nanoseconds of a clock that all loads of a process share.
        taken: from then to its whole answer, nanoseconds.
        status: of HTTP; `LOST` or `LATE` where there was no answer.
        seconds: from the first request to the last answer.
        broken: connections that ended while they were in use or waited.
        bodies: of the first answers, by the place of the request, as far as they were to be kept.
    """

    due: NDArray[np.int64]
    taken: NDArray[np.int64]
    status: NDArray[np.int64]
    seconds: float
    broken: int
    bodies: Mapping[int, bytes]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which were answered with 200."""
        return self.status == 200

    @property
    def rate(self) -> float:
        """Requests answered with 200 a second."""
        return float(self.answered.sum()) / self.seconds

    @property
    def failed(self) -> int:
        """How many were not."""
        return int((~self.answered).sum())

    def milliseconds(self) -> NDArray[np.float64]:
        """Of the requests that were answered with 200, in the order of their sending."""
        import numpy as np

        order = np.argsort(self.due, kind="stable")
        made: NDArray[np.float64] = self.taken[order][self.answered[order]] / 1e6
        return made

    def quantile(self, q: float) -> float:
        """The least time, in ms, within which the share `q` of the answered requests was answered."""
        import numpy as np

        return float(np.quantile(self.milliseconds(), q, method="inverted_cdf"))


def request(url: str, body: bytes, kind: str = "application/json", **fields: str) -> bytes:
    """A POST as it goes over the wire, for a connection that is kept.

    Args:
        kind: the content type.
        fields: more of the head; an underscore stands for a dash.

    >>> request("http://127.0.0.1:80/v2/models/m/infer", b"{}").splitlines()[0]
    b'POST /v2/models/m/infer HTTP/1.1'
    """
    parts = urlsplit(url)
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@final
class Generator:
    """A process that sends requests; it ends with this object, or with this process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weigh-load-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(_generator.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._keep = 0
        self._end = weakref.finalize(self, _end, self._process, self._folder)

    def run(
        self,
        url: str,
        requests: Sequence[bytes],
        connections: int,
        count: int = 0,
        seconds: float = 0.0,
        rate: float = 0.0,
        keep: int = 0,
        patience: float = PATIENCE,
        seed: int = 0,
    ) -> Seen:
        """Send requests, in turn, until `count` are answered or `seconds` are over.

        Args:
            url: of the server; its host and port count.
            requests: whole HTTP requests, see `request`.
            connections: that are kept open.
            rate: requests a second of an open loop, due at times of a Poisson process and timed from when they are due,
                so that a server which stalls is not asked less (no coordinated omission); 0: a closed loop, in which
                each connection sends again as soon as it was answered.
            keep: the bodies of so many answers, the first ones.

        Raises:
            RuntimeError: nothing takes connections at the address.
        """
        self.start(url, requests, connections, count, seconds, rate, keep, patience, seed)
        return self.result()

    def start(
        self,
        url: str,
        requests: Sequence[bytes],
        connections: int,
        count: int = 0,
        seconds: float = 0.0,
        rate: float = 0.0,
        keep: int = 0,
        patience: float = PATIENCE,
        seed: int = 0,
    ) -> None:
        """As `run`, without waiting for the end; without `count` and `seconds` it goes on until `stop`.

        Raises:
            RuntimeError: nothing takes connections at the address.
        """
        parts, home = urlsplit(url), Path(self._folder.name)
        asked = {
            "host": parts.hostname, "port": parts.port, "requests": str(self._written(requests)),
            "connections": connections, "count": count, "seconds": seconds, "rate": rate, "keep": keep,
            "patience": patience, "seed": seed, "results": str(home / "results"), "bodies": str(home / "bodies"),
        }  # fmt: skip
        self._tell(json.dumps(asked).encode() + b"\n")
        self._heard()

    def stop(self) -> Seen:
        """No more requests; what was seen of all."""
        self._tell(_generator.STOP)
        return self.result()

    def result(self) -> Seen:
        """Wait for the end of what was started."""
        import numpy as np

        told = self._heard()
        columns = np.fromfile(Path(self._folder.name) / "results", np.int64).reshape(3, -1)
        bodies = {
            int.from_bytes(one[:4], "little"): one[4:]
            for one in _generator.requests_in(str(Path(self._folder.name) / "bodies"))
        }
        due, taken, status = columns
        return Seen(due, taken, status, told["nanoseconds"] / 1e9, told["broken"], bodies)

    def close(self) -> None:
        """End the process."""
        self._end()

    def _heard(self) -> dict[str, Any]:
        """The next line of the process.

        Raises:
            RuntimeError: it is an error, or the process ended.
        """
        assert self._process.stdout
        told = json.loads(self._process.stdout.readline() or '{"error": "the process that sends requests ended"}')
        if "error" in told:
            raise RuntimeError(f"the load could not be put on the server: {told['error']}")
        found: dict[str, Any] = told
        return found

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _written(self, requests: Sequence[bytes]) -> Path:
        """The requests as a file, written anew where they are others than the last ones."""
        path, made = Path(self._folder.name) / "requests", hash(tuple(requests))
        if made != self._keep or not path.exists():
            path.write_bytes(b"".join(len(one).to_bytes(8, "little") + one for one in requests))
            self._keep = made
        return path


def _end(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.communicate()
    folder.cleanup()
