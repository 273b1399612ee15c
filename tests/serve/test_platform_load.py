"""The generator of load, against servers whose behaviour is known."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from weigh.serve.platform._generator import body_at
from weigh.serve.platform._load import LATE, LOST, Generator, Seen, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def serving(answering: Answering) -> Iterator[str]:
    """A server in a thread that reads whole requests, and answers each as it is told."""
    ready = threading.Event()
    where: list[str] = []
    within: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await answering(await reader.readexactly(size), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def serve() -> None:
        server, stop = await asyncio.start_server(client, "127.0.0.1", 0), asyncio.Event()
        where.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2")
        within.append((asyncio.get_running_loop(), stop))
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield where[0]
    finally:
        loop, stop = within[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="module")
def load() -> Iterator[Generator]:
    made = Generator()
    yield made
    made.close()


async def at_once(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


def after(seconds: float) -> Answering:
    async def answering(body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(OK)

    return answering


def test_a_closed_loop_sends_as_it_is_answered(load: Generator) -> None:
    """Little's law: connections = rate times time."""
    with serving(after(0.02)) as url:
        seen = load.run(url, [request(url, b"{}")], 4, count=60)
    assert len(seen.status) == 60 and seen.answered.all() and seen.failed == 0
    assert (seen.taken >= 0.02e9).all()
    assert seen.rate * seen.milliseconds().mean() / 1e3 == pytest.approx(4, rel=0.1)


def test_requests_go_in_turn_and_bodies_come_back_by_their_place(load: Generator) -> None:
    async def echo(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with serving(echo) as url:
        requests = [request(url, b"%d" % place) for place in range(3)]
        seen = load.run(url, requests, 2, count=10, keep=7)
    assert seen.bodies == {place: b"%d" % (place % 3) for place in range(7)}


def test_answers_in_pieces_and_in_chunks_are_whole_answers(load: Generator) -> None:
    async def pieces(body: bytes, writer: asyncio.StreamWriter) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        for piece in [OK[:20], OK[20:]] if body == b"{}" else [chunked[:50], chunked[50:60], chunked[60:]]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)

    with serving(pieces) as url:
        seen = load.run(url, [request(url, b"{}"), request(url, b"[]")], 2, count=8, keep=2)
    assert seen.answered.all() and seen.bodies[0] == b"ok" and b"abc" in seen.bodies[1]


def test_statuses_are_told_apart_and_errors_are_no_answers(load: Generator) -> None:
    async def refuses(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if body == b"{}" else b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")

    with serving(refuses) as url:
        seen = load.run(url, [request(url, b"{}"), request(url, b"[]")], 1, count=10)
    assert sorted(seen.status.tolist()) == [200] * 5 + [429] * 5 and seen.failed == 5
    assert len(seen.milliseconds()) == 5


def test_a_connection_that_ends_is_a_request_that_failed_and_is_made_anew(load: Generator) -> None:
    count = 0

    async def hangs_up(body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count % 5 == 0:
            writer.close()
            return
        closing = count % 7 == 0
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if closing else OK)
        if closing:
            writer.close()

    with serving(hangs_up) as url:
        seen = load.run(url, [request(url, b"{}")], 3, count=70)
    assert seen.failed == seen.broken == 14 and set(seen.status.tolist()) == {200, LOST}


def test_an_answer_that_does_not_come_is_given_up(load: Generator) -> None:
    async def silent(body: bytes, writer: asyncio.StreamWriter) -> None:
        if body == b"{}":
            writer.write(OK)

    with serving(silent) as url:
        seen = load.run(url, [request(url, b"{}"), request(url, b"[]")], 2, count=4, patience=0.2)
    assert sorted(seen.status.tolist()) == [LATE, LATE, 200, 200]


def stalling() -> Answering:
    """At once, but for one stop of 0.4 s that everybody waits for."""
    begun = time.monotonic()
    stalled = False

    async def answering(body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal stalled
        if not stalled and time.monotonic() - begun > 0.3:
            stalled = True
            time.sleep(0.4)
        writer.write(OK)

    return answering


def test_an_open_loop_sees_a_stall_that_a_closed_loop_asks_around(load: Generator) -> None:
    """Coordinated omission: while a server stalls, a closed loop sends nothing, and counts one slow answer."""

    def slow(rate: float) -> float:
        with serving(stalling()) as url:
            seen = load.run(url, [request(url, b"{}")], 4, seconds=1.0, rate=rate)
        assert seen.failed == 0
        return float((seen.milliseconds() > 50).mean())

    assert slow(300.0) > 0.2 and slow(0.0) < 0.05


def test_an_open_loop_keeps_its_rate(load: Generator) -> None:
    with serving(at_once) as url:
        seen = load.run(url, [request(url, b"{}")], 8, seconds=1.0, rate=500.0, seed=3)
    gaps = np.diff(np.sort(seen.due)) / 1e9
    assert len(seen.due) == pytest.approx(500, abs=5 * 500**0.5)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.25), "times between Poisson arrivals are exponential"


def test_it_runs_until_it_is_told_to_stop_and_notes_a_server_that_goes(load: Generator) -> None:
    with serving(after(0.005)) as url:
        load.start(url, [request(url, b"{}")], 2)
        time.sleep(0.3)
        seen = load.stop()
    assert seen.failed == 0 and 20 < len(seen.status) < 150
    with pytest.raises(RuntimeError, match=r"could not be put on the server: ConnectionRefusedError"):
        load.run(url, [request(url, b"{}")], 2, count=5)
    with serving(at_once) as url:
        assert load.run(url, [request(url, b"{}")], 1, count=3).failed == 0, "it goes on after an order that failed"


def test_a_request_larger_than_the_sockets_buffer_is_sent_whole(load: Generator) -> None:
    async def length(body: bytes, writer: asyncio.StreamWriter) -> None:
        told = b"%d" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH: %d\r\n\r\n" % len(told) + told)

    with serving(length) as url:
        seen = load.run(url, [request(url, b"x" * 3_000_000)], 2, count=4, keep=4)
    assert set(seen.bodies.values()) == {b"3000000"}


def test_it_takes_few_microseconds_of_processor_a_request(load: Generator) -> None:
    """A generator that is slower than the servers would measure itself."""
    import psutil

    process = psutil.Process(load._process.pid)
    with serving(at_once) as url:
        before = process.cpu_times().user
        load.run(url, [request(url, b"{}")], 16, count=5000)
        used = process.cpu_times().user - before
    assert used / 5000 < 60e-6


def test_quantiles_are_times_that_were_seen() -> None:
    taken = np.arange(1, 101, dtype=np.int64) * 1_000_000
    seen = Seen(taken, taken, np.where(taken == 5_000_000, 500, 200), 1.0, 0, {})
    assert seen.quantile(0.99) == 100.0 and seen.quantile(0.5) == 51.0 and seen.rate == 99.0


@pytest.mark.parametrize("cut", [10, 30, 39])
def test_half_an_answer_is_none(cut: int) -> None:
    assert body_at(OK[:cut]) is None and body_at(OK) == (38, 40)
