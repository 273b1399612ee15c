"""Other work on the machine: processes that keep a core busy each, and that end with the one that started them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_ALIVE = "import os, time\nparent = os.getppid()\n"
_WORK = {
    "matmul": """
import numpy as np
a = np.random.default_rng(0).random((300, 300), dtype=np.float32)
while os.getppid() == parent:
    for _ in range(20): a @ a
""",
    "memory": """
import numpy as np
a = np.zeros(32 << 20, dtype=np.uint8)
b = np.zeros_like(a)
while os.getppid() == parent:
    b[:] = a
    a += 1
""",
    "python": """
while os.getppid() == parent:
    sum(i * i for i in range(100_000))
""",
    "bursts": """
import numpy as np
rng = np.random.default_rng(0)
a = rng.random((300, 300), dtype=np.float32)
while os.getppid() == parent:
    end = time.perf_counter() + rng.exponential(0.2)
    while time.perf_counter() < end: a @ a
    time.sleep(rng.exponential(0.02))
""",
}
KINDS = tuple(_WORK)


@contextmanager
def loaded(kinds: Sequence[str]) -> Iterator[list[int]]:
    """One process of each kind, from `KINDS`; yields their ids. They end with the block, and with this process."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for kind in kinds:
            started.append(subprocess.Popen([sys.executable, "-c", _ALIVE + _WORK[kind]], env=env))
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
