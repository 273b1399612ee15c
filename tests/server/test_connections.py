"""Connections: who is silent or endless is hung up on, and what is answered without ASGI is what ASGI would answer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

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
