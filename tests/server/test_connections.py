"""Connections: who is silent or endless is hung up on, and what is answered without ASGI is what ASGI would answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from servers import Running, body

IDLE = 0.4
INFER = b"POST /v2/models/net/infer HTTP/1.1\r\nhost: x\r\n"


class Echo:
    """What the protocol asks of an app: inference that gives the body back, elsewhere a long answer."""

    infer_path, traces = "/v2/models/net/infer", None
    settings = SimpleNamespace(idle=IDLE, max_body=10_000)

    def head(self, headers: list[tuple[bytes, bytes]]) -> Any:
        from weigh.server.entrance import Head

        return Head(headers, b"x-unit-id")

    def reply(self, head: Any, body: bytes, told: Callable[[Any], None]) -> None:
        from weigh.server.app import Reply

        made = Reply(200, [(b"content-length", b"%d" % len(body))], body, "champion")
        if body == b"fault":
            raise RuntimeError("a fault of weigh's")
        if body == b"later":
            asyncio.get_running_loop().call_later(0.2, told, made)
        else:
            told(made)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size = 64_000_000 if scope["path"] == "/long" else 4
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]}
        )  # fmt: skip
        await send({"type": "http.response.body", "body": b"asgi" * (size // 4)})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    import uvicorn

    from weigh.server.protocol import Protocol

    app, bound = Echo(), socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=Protocol.of(app), ws="none", lifespan="off", log_level="critical", loop="uvloop",  # type: ignore[arg-type]
        timeout_keep_alive=60,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    yield bound.getsockname()
    server.should_exit = True
    thread.join(30)


def _all(client: socket.socket) -> bytes:
    found = b""
    while part := client.recv(1 << 16):
        found += part
    return found


def _heard(client: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        part = client.recv(1 << 16)
        assert part, found
        found += part
    return found


def _send_for_ever(client: socket.socket) -> None:
    while True:
        client.send(b"x")
        threading.Event().wait(0.05)


def _asked(what: bytes, more: bytes = b"") -> bytes:
    return INFER + more + b"content-length: %d\r\n\r\n" % len(what) + what


@pytest.mark.parametrize("first", [b"", _asked(b"hello")])
@pytest.mark.parametrize(
    ("said", "status"),
    [(INFER, b""), (INFER + b"content-length: 9\r\n\r\nhalf", b"408"), (INFER + b"x: " + b"y" * 70_000, b"431")],
)
def test_what_is_never_whole_ends(address: tuple[str, int], first: bytes, said: bytes, status: bytes):
    with socket.create_connection(address, timeout=30) as client:
        if first:
            client.sendall(first)
            _heard(client, b"hello")
        client.sendall(said)
        found = _all(client)
        assert found.split(b" ")[1:2] == ([status] if status else []), "half a head is silence, which needs no answer"


def test_a_silent_connection_is_closed(address: tuple[str, int]):
    from weigh.server.settings import ServerSettings

    assert ServerSettings(model="m", name="n", state="s").idle == 75.0  # type: ignore[arg-type]
    with socket.create_connection(address, timeout=30) as silent:
        assert _all(silent) == b""


def test_bytes_that_begin_no_request_hold_no_connection(address: tuple[str, int]):
    rest_of_a_body = b"GET /else HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
    for first, end in ((b"", b""), (_asked(b"hello"), b"hello"), (rest_of_a_body, b"asgi")):
        with socket.create_connection(address, timeout=30) as client:
            if first:
                client.sendall(first)
                _heard(client, end)
            client.sendall(b"\r\n")
            assert _all(client) == b""


def test_a_half_head_behind_many_requests_is_no_long_head(address: tuple[str, int]):
    last = _asked(b"last")
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(_asked(b"x" * 9000) * 20 + last[:30])
        threading.Event().wait(0.1)
        client.sendall(last[30:])
        found = _heard(client, b"last")
        assert found.count(b"HTTP/1.1 200 OK") == 21 and b" 431 " not in found


@pytest.mark.parametrize("what", [b"now", b"later"])
@pytest.mark.parametrize("wrong", [b"\0 is no request\r\n\r\n", INFER + b"x: " + b"y" * 70_000, INFER])
def test_what_is_wrong_is_refused_behind_the_answers_that_are_due(
    address: tuple[str, int], what: bytes, wrong: bytes
):  # fmt: skip
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(_asked(what) + wrong[:100])
        client.sendall(wrong[100:])
        found = _all(client)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n") and found.count(what) == 1
        if what == b"later" and wrong.startswith(b"\0"):
            assert found.endswith(b"connection: close\r\n\r\nlater"), "the connection ends with what was due"


@pytest.mark.parametrize("what", [b"now", b"later"])
def test_who_has_said_all_still_gets_the_answer(address: tuple[str, int], what: bytes):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(_asked(what))
        client.shutdown(socket.SHUT_WR)
        assert _all(client).endswith(what)


def test_a_client_that_never_reads_is_hung_up_on(address: tuple[str, int]):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        with pytest.raises(ConnectionError):
            _send_for_ever(client)


@pytest.mark.parametrize("what", [b"now", b"later"])
def test_requests_in_a_row_are_answered_in_order(address: tuple[str, int], what: bytes):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(_asked(what) + b"GET /else HTTP/1.1\r\nhost: x\r\n\r\n" + _asked(b"third"))
        found = b""
        while found.count(b"asgi") < 2:  # what waits behind another is uvicorn's to answer
            found += client.recv(1 << 16)
        assert found.index(what) < found.index(b"asgi")


def test_a_body_in_pieces_and_a_last_request(address: tuple[str, int]):
    with socket.create_connection(address, timeout=30) as client:
        whole = _asked(b"in pieces")
        for at in range(0, len(whole), 7):
            client.sendall(whole[at : at + 7])
            threading.Event().wait(0.005)
        assert _heard(client, b"in pieces").startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(_asked(b"last", b"connection: close\r\n"))
        assert b"connection: close" in _all(client)


def test_a_fault_of_ours_is_a_500_and_the_connection_goes_on(address: tuple[str, int]):
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(_asked(b"fault"))
        assert b"500 Internal Server Error" in _heard(client, b"}")
        client.sendall(_asked(b"hello"))
        _heard(client, b"hello")


def test_the_direct_way_answers_as_asgi_does(serve: Callable[..., Running]):
    server = serve()
    said = json.dumps(body(unit="ann", request="one")).encode()
    length = b"content-length: %d\r\n" % len(said)
    both = []
    for way in (b"", b"expect: 100-continue\r\n"):  # which only ASGI does
        for told in (said, b"{" + said[1:-1] + b" "):
            with socket.create_connection(server.address, timeout=30) as client:
                client.sendall(INFER + length + way + b"connection: close\r\n\r\n" + told)
                both.append(_all(client).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert both[:2] == both[2:] and b" 200 " in both[0] and b" 400 " in both[1]
    logged = [{**one, "t": 0, "m": 0, "ms": 0} for one in server.logged()]
    assert len(logged) == 2 and logged[0] == logged[1]


def test_a_body_on_its_way_is_answered_before_the_server_stops(serve: Callable[..., Running]):
    server = serve()
    whole = _asked(json.dumps(body(request="one")).encode())
    with socket.create_connection(server.address, timeout=30) as client:
        client.sendall(whole[:-9])
        threading.Event().wait(0.2)
        assert server.process is not None
        server.process.terminate()
        threading.Event().wait(0.5)
        client.sendall(whole[-9:])
        found = _all(client)
        assert found.startswith(b"HTTP/1.1 200 OK\r\n") and b"connection: close" in found
    assert server.stop() == 0
    assert [one["id"] for one in server.logged()] == ["one"]


def test_an_arm_that_ends_leaves_nobody_waiting(nets: dict[str, Path], tmp_path: Path):
    from weigh.server.arms import Down, ProcessArm
    from weigh.server.routing import Served
    from weigh.server.settings import ServerSettings

    async def ended() -> list[Any]:
        arm, told = ProcessArm(
            "canary", Served(path=str(nets["net"])), ServerSettings(model="m", name="n", state=tmp_path)
        ), []  # fmt: skip
        await arm.ready()
        assert arm.pid is not None
        os.kill(arm.pid, signal.SIGSTOP)
        arm.ask({"x": np.zeros((1, 4), "f4")}, time.monotonic_ns() + 60_000_000_000, told.append)
        ending = asyncio.ensure_future(arm.close(0.0))
        await asyncio.sleep(0.1)
        os.kill(arm.pid, signal.SIGCONT)
        await ending
        arm.ask({"x": np.zeros((1, 4), "f4")}, time.monotonic_ns() + 60_000_000_000, told.append)
        return told

    assert [type(one) for one in asyncio.run(ended())] == [Down, Down]


def test_an_answer_that_cannot_be_sent_is_a_500(tmp_path: Path):
    from weigh.server.app import App
    from weigh.server.arms import Door
    from weigh.server.entrance import Head
    from weigh.server.router import Answer
    from weigh.server.routing import Routing, Served
    from weigh.server.settings import ServerSettings
    from weigh.server.tensors import Tensor

    app = App(
        ServerSettings(model="m", name="n", state=tmp_path), None, Routing(champion=Served(path="m")), "token"
    )  # fmt: skip
    door = Door("tensors", "1", "onnx", (Tensor("x", "FP32", (-1, 4)),), (Tensor("y", "FP32", (-1, 3)),))
    arm: Any = SimpleNamespace(name="champion", version="1")
    app.router = SimpleNamespace(  # type: ignore[assignment]
        door=door, challenge=None, assigned=lambda unit: arm, ask=lambda by, feed, until, told: told(Answer(by, by, {}))
    )
    told: list[Any] = []
    app.reply(Head([], b"x-unit-id"), json.dumps(body()).encode(), told.append)
    assert [one.status for one in told] == [500]
