"""Servers that run: started, held against the net itself, and ready to be loaded."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve.net import TOLERANCE, Net
from benchmarks.serve.setup import PEERS, Command
from benchmarks.serve.tree import Tree
from weigh.choice import UsageError
from weigh.serve.platform import _v2
from weigh.serve.platform._load import Generator, request
from weigh.serve.platform._ports import free_ports
from weigh.serve.platform._process import Program

FOREVER = 1_000_000_000
"""Requests that a stage of the rollout asks for, so that it stays where it is."""
SHARE = 0.1
PATIENCE = 120.0
"""Seconds that a server has to start."""


class Running:
    """One server, from its start to its end.

    Attributes:
        started: seconds from its start to its first answer.
        requests: as they go over the wire, each with the user that it is for.
    """

    def __init__(self, name: str, net: Net, folder: Path, command: Command, port: int) -> None:
        self.name, self.net, self.command, self.folder = name, net, command, folder
        self.program = Program(command.words, folder / f"{name}.log", command.env, name)
        try:
            self.url = self._address(port)
            self.requests = [self._request(place) for place in range(len(net.rows))]
            self._first_answer()
        except BaseException:
            self.program.close()
            raise
        self.started = time.perf_counter() - self.program.began
        self.tree = Tree(self.program.pid)

    def _address(self, port: int) -> str:
        """Where it listens; of weigh as it writes into its folder."""
        if port:
            return f"http://127.0.0.1:{port}"
        file = self.folder / "state" / "server.json"
        self._until(file.is_file)
        return str(json.loads(file.read_text())["url"])

    def _request(self, place: int) -> bytes:
        row = [round(float(value), 4) for value in self.net.rows[place]]
        body = json.dumps(self.command.asked(row), separators=(",", ":")).encode()
        return request(self.url + self.command.path, body, X_Unit_Id=f"user-{place}")

    def _first_answer(self) -> None:
        asked = json.dumps(self.command.asked(self.net.rows[0].tolist())).encode()

        def answered() -> bool:
            try:
                _v2.ask(self.url + self.command.path, asked, seconds=PATIENCE)
            except (OSError, RuntimeError):
                return False
            return True

        self._until(answered)

    def _until(self, there: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not there():
            self.program.need_alive()
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not answer within {PATIENCE:g} s: {self.program.words()}")
            time.sleep(0.02)

    def check(self, load: Generator, count: int = 200) -> float:
        """The greatest difference from the net itself, over some rows.

        Raises:
            UsageError: it gives other numbers, or none.
        """
        seen = load.run(self.url, self.requests, 1, count=count, keep=count)
        if len(seen.bodies) < count:
            raise UsageError(f"{self.name} answered {len(seen.bodies)} of {count}: {self.program.words()}")
        given = np.array([self.command.answer(json.loads(seen.bodies[place])) for place in range(count)])
        gap = float(np.abs(given - self.net.answers[:count]).max())
        if not gap <= TOLERANCE:
            raise UsageError(f"{self.name} differs from ONNX Runtime by {gap:.3g}, more than {TOLERANCE:g}")
        return gap

    def close(self) -> None:
        """End it."""
        self.tree.go_on()
        self.program.close()


def peer(name: str, net: Net, folder: Path) -> Running:
    """Start a peer."""
    home, port = _home(folder, name), free_ports(1)[0]
    return Running(name, net, home, PEERS[name](net, home, port), port)


def weigh(net: Net, folder: Path, mode: str = "canary", name: str = "weigh", extra: Sequence[str] = ()) -> Running:
    """Start weigh's server, and the rollout that it is to conduct.

    Args:
        mode: ``canary`` (a tenth of the users meet the challenger, and a tenth a fresh baseline), ``shadow`` (the
            challenger gets copies), or ``plain`` (no rollout).
        extra: more words of the command line.
    """
    home = _home(folder, name)
    words = [sys.executable, "-m", "weigh", "serve", str(net.path), "--port", "0", "--name", "net"]
    env = {"PYTHONPATH": ":".join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = Command([*words, "--state", str(home / "state"), *extra], env)
    running = Running(name, net, home, command, 0)
    if mode != "plain":
        try:
            _begin(running, mode)
        except BaseException:
            running.close()
            raise
    running.tree.look()
    return running


def _begin(running: Running, mode: str) -> None:
    """Begin a rollout that stays at its first stage, and see to it that it does."""
    plan = {
        "guardrails": ["error <= baseline + 0.05", "disagreement <= 0.05"], "stages": [SHARE, 1.0],
        "shadow": mode == "shadow", "least": FOREVER, "horizon": FOREVER,
    }  # fmt: skip
    admin(running, "/admin/rollout", "POST", {"challenger": {"path": str(running.net.challenger)}, "plan": plan})
    need_mode(running, mode)


def need_mode(running: Running, mode: str) -> None:
    """Raises `UsageError` where the server's rollout is not the one that is to be measured."""
    told = admin(running, "/admin/status")
    challenge = told["routing"]["challenge"]
    found = "plain" if challenge is None else {"split": "canary"}.get(challenge["mode"], challenge["mode"])
    if found != mode or (mode == "canary" and abs(told["shares"].get("canary", 0.0) - SHARE) > 1e-9):
        raise UsageError(f"{running.name} should be at '{mode}', and is at {challenge}, shares {told['shares']}")


def admin(running: Running, path: str, method: str = "GET", body: Any = None) -> Any:
    """An administrator's call."""
    token = (running.folder / "state" / "token").read_text().strip()
    data = None if body is None else json.dumps(body).encode()
    return json.loads(_v2.ask(running.url + path, data, method, PATIENCE, Authorization=f"Bearer {token}"))


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home
