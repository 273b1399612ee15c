"""A standing group of processes that share one model."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.serve.runtime import Served
from weigh.serve.runtime._net import names_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class Group(Served):
    """So many processes, each with its part of the layers; they end with this object, or with this process.

    Raises:
        RuntimeError: a process ended; the text is what it wrote last.
    """

    def __init__(self, source: Source, threads: int, size: int) -> None:
        self._names, self._peaks = names_of(source), [0.0] * size
        self._folder = tempfile.TemporaryDirectory(prefix="weigh-group-")
        self._errors = [Path(self._folder.name) / f"errors-{rank}.txt" for rank in range(size)]
        told = {
            "source": {**dataclasses.asdict(source), "path": str(source.path.absolute())}, "threads": threads,
            "size": size, "store": str(Path(self._folder.name) / "store"),
        }  # fmt: skip
        self._members = [self._start({**told, "rank": rank}) for rank in range(size)]
        self._end = weakref.finalize(self, _end, self._members, self._folder)

    def _start(self, told: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        roots = os.pathsep.join(entry for entry in sys.path if entry)
        with self._errors[told["rank"]].open("wb") as errors:
            member = subprocess.Popen(
                [sys.executable, "-m", "weigh.serve.runtime._shard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, env={**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": str(told["threads"])},
            )  # fmt: skip
        assert member.stdin
        member.stdin.write(json.dumps(dict(told)).encode() + b"\n")
        member.stdin.flush()
        return member

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import numpy as np

        values = [np.ascontiguousarray(feed[name]) for name in self._names]
        head = json.dumps([(str(one.dtype), one.shape) for one in values]).encode() + b"\n"
        request = head + b"".join(one.tobytes() for one in values)
        for member in self._members:
            assert member.stdin
            try:
                member.stdin.write(request)
                member.stdin.flush()
            except BrokenPipeError:
                raise RuntimeError(self._told()) from None
        made = [self._answer(rank) for rank in range(len(self._members))]
        return made[0]

    def _answer(self, rank: int) -> NDArray[np.float32]:
        import numpy as np

        stream = self._members[rank].stdout
        assert stream
        line = stream.readline()
        if not line:
            raise RuntimeError(self._told())
        head = json.loads(line)
        self._peaks[rank] = head["megabytes"]
        body = np.frombuffer(stream.read(head["bytes"]), np.float32)
        return body.reshape(head["shape"]) if head["bytes"] else body

    def _told(self) -> str:
        texts = [path.read_text(errors="replace") for path in self._errors]
        lines = [line for text in texts for line in text.splitlines() if line.strip()]
        return f"a process of the group ended: {(lines or ['it said nothing'])[-1][:500]}"

    def others_mb(self) -> float:
        return sum(self._peaks)

    def close(self) -> None:
        self._end()


def _end(members: Sequence[subprocess.Popen[bytes]], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Close the inputs, at which members end; kill what does not."""
    for member in members:
        for stream in (member.stdin, member.stdout):
            if stream:
                stream.close()
    for member in members:
        try:
            member.wait(5)
        except subprocess.TimeoutExpired:
            member.kill()
            member.wait()
    folder.cleanup()
