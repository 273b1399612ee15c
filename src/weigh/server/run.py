"""Starts a server: a keeper that holds the socket, and a router under it that is started again when it dies."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.server.settings import ServerSettings

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
PATIENCE = 3.0
BACKLOG = 4096
ANNOUNCE = 0.1
STARTUP = 3
"""Exit status of uvicorn whose application could not start."""
REFUSED = 2
"""Exit status of a router that cannot serve the model, so that starting it again would not help."""


def token_of(state: Path) -> str:
    """The token of admin calls, drawn once and kept where only the owner reads it."""
    path = state / "token"
    if not path.exists():
        state.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.touch(0o600)
            temporary.write_text(secrets.token_urlsafe(32) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def listening(settings: ServerSettings) -> socket.socket:
    """The socket that clients come to; a router whose keeper was killed has a moment to let go of it.

    Raises:
        UsageError: the address is taken, or none of this machine.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return _bound(settings.host, settings.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < end:
                time.sleep(0.1)
                continue
            raise UsageError(
                f"nothing can listen on {settings.host}:{settings.port} ({error.strerror}): type another --port, or 0 "
                "for a free one"
            ) from None


def _bound(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def url_of(bound: socket.socket) -> str:
    """Where clients find it."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def raise_limit() -> None:
    """As many open files as the system lets us have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def route(settings: ServerSettings, bound: socket.socket) -> None:
    """Be the router: answer on the socket until told to stop.

    Raises:
        UsageError: the model cannot be served.
    """
    import uvicorn

    from weigh.server.app import App
    from weigh.server.placing import placed
    from weigh.server.protocol import Protocol
    from weigh.server.router import started

    raise_limit()
    now = started(settings)
    app = App(settings, placed(settings, now.champion), now, token_of(settings.state))
    config = uvicorn.Config(
        app, http=Protocol.of(app), loop="uvloop", ws="none", lifespan="on", access_log=False,
        log_level="warning", server_header=False, date_header=False, proxy_headers=False,
        timeout_keep_alive=int(settings.idle) or 1, timeout_graceful_shutdown=int(settings.drain) or 1, backlog=BACKLOG,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[bound])


class Keeper:
    """Holds the socket, so that no connection is refused while a router is started again, and keeps a router under it.

    Args:
        tell: is called with lines for people.
    """

    def __init__(self, settings: ServerSettings, tell: Callable[[str], None]) -> None:
        self.settings, self._tell = settings, tell
        self._router: subprocess.Popen[bytes] | None = None
        self._stopping = self._answered = False

    def run(self) -> int:
        """Serve until told to stop; the exit status.

        Raises:
            UsageError: the address is taken, another server uses the folder, or the model cannot be served.
        """
        with owning(self.settings.state), listening(self.settings) as bound:
            token_of(self.settings.state)
            self._told(url_of(bound))
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            threading.Thread(target=self._conduct, args=(url_of(bound),), daemon=True).start()
            threading.Thread(target=self._announce, args=(url_of(bound),), daemon=True).start()
            try:
                return self._keep(bound)
            finally:
                (self.settings.state / "server.json").unlink(missing_ok=True)

    def _announce(self, url: str) -> None:
        """Say where it serves once it answers."""
        from weigh.server import rollouts
        from weigh.server.client import Admin, Unreachable

        admin = Admin(url, token_of(self.settings.state))
        while not self._stopping:
            try:
                told = admin.get("/admin/status")
            except Unreachable:
                time.sleep(ANNOUNCE)
                continue
            self._answered = True
            path, (arm, *_) = told["routing"]["champion"]["path"], told["arms"]
            begun = [rollouts.read(self.settings, one) for one in rollouts.known(self.settings)]
            by = next((one.id for one in reversed(begun) if one.end == "shipped"), "")
            how = f", which rollout {by} shipped" if by and path != str(self.settings.model) else ""
            self._tell(f"{self.settings.name} is served at {url}: {path} (version {arm['version']}){how}")
            self._tell(f"log, rollouts and token of administration: {self.settings.state}; Ctrl-C stops it")
            return

    def _conduct(self, url: str) -> None:
        """Conduct whatever rollout the routing names, for as long as the server runs."""
        from weigh.server.watch import conduct

        conduct(self.settings, url, self._tell, lambda: self._stopping)

    def _told(self, url: str) -> None:
        with replacing(self.settings.state / "server.json") as temporary:
            temporary.write_bytes(orjson.dumps({"url": url, "pid": os.getpid(), "name": self.settings.name}))

    def _keep(self, bound: socket.socket) -> int:
        wait = FIRST_WAIT
        while True:
            started = time.monotonic()
            self._router = self._start(bound)
            code = self._router.wait()
            if self._stopping:
                self._tell("stopped")
                return 0
            if code == REFUSED or (code == STARTUP and not self._answered):
                return REFUSED
            wait = FIRST_WAIT if time.monotonic() - started > LONGEST_WAIT else min(2 * wait, LONGEST_WAIT)
            self._tell(f"the router ended ({code}); it is started again")
            end = time.monotonic() + wait
            while time.monotonic() < end and not self._told_to_stop():
                time.sleep(0.05)
            if self._told_to_stop():
                return 0

    def _start(self, bound: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "weigh.server.route", str(bound.fileno()), self.settings.model_dump_json()],
            pass_fds=[bound.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def _told_to_stop(self) -> bool:
        return self._stopping

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True
        if self._router is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                self._router.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def owning(state: Path) -> Iterator[None]:
    """The folder is ours while the block runs.

    Raises:
        UsageError: another server uses it.
    """
    import fcntl

    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another server uses {state}: end it first, or type another --name or --state") from None
        yield
