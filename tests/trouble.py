"""Coins that harm whoever tosses them: for tests of workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from coins import Coin
from pydantic import Field

_FORKED = "import sys, time; held = b'x' * int(sys.argv[1]); open(sys.argv[2], 'w').write('1'); time.sleep(600)"


class Nasty(Coin):
    """Does something that a worker must outlive."""

    name = "nasty"
    how: str = Field("busy", description="which harm")
    mark: str = Field("", description="a file that it writes, or looks for")

    def heads(self, rng: np.random.Generator, tosses: int) -> Any:
        getattr(self, self.how)()
        return np.zeros(tosses)

    def busy(self) -> None:
        """Never yields."""
        self.note()
        while True:
            pass

    def note(self) -> None:
        """Writes down which process this is, and one that it starts."""
        child = subprocess.Popen([sys.executable, "-c", _FORKED, "1", self.mark + ".child"])
        Path(self.mark).write_text(f"{os.getpid()} {child.pid}")

    def heavy(self) -> None:
        """Holds memory in a process that it starts."""
        subprocess.Popen([sys.executable, "-c", _FORKED, str(400 * 2**20), self.mark])
        while not Path(self.mark).exists():
            time.sleep(0.05)
        time.sleep(0.3)

    def asks(self) -> None:
        """Reads what is typed."""
        if sys.stdin.read() or os.read(0, 1):
            raise AssertionError("there is something on standard input")
        raise ValueError("nobody types")

    def mumbles(self) -> None:
        """Raises what neither a terminal nor JSON can hold."""
        raise RuntimeError("\x1b[31mred\x07 \udcff and\nmore")

    def babbles(self) -> None:
        """Writes into every file descriptor."""
        for descriptor in range(3, 12):
            try:
                os.write(descriptor, b"not an answer\n")
            except OSError:
                continue

    def leaves(self) -> None:
        """Raises what is no Exception."""
        raise KeyboardInterrupt

    def dies_once(self) -> None:
        """Is killed from outside, the first time."""
        if not Path(self.mark).exists():
            Path(self.mark).write_text("")
            os.kill(os.getpid(), 9)
        raise ValueError("came back")

    def hangs_once(self) -> None:
        """Never ends, the first time."""
        if not Path(self.mark).exists():
            Path(self.mark).write_text("")
            time.sleep(600)
