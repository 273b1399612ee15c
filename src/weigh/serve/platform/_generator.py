"""The process that sends requests: raw sockets, prebuilt requests, one loop. It runs as a file, without weigh.

Reads orders from standard input, a line of JSON each, and answers with one as it begins and one as it ends. An order
names a file of requests; what was seen of each (when it was due, how long it took, its status) is written as three rows
of signed 64-bit integers.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import socket
import sys
import time
from array import array
from collections import deque
from typing import Any, final

LOST, LATE = 0, 1
"""What stands for a status where there was no answer: the connection broke, or time ran out."""
CHUNK = 1 << 18
STOP = b"stop\n"
_LENGTHS = (b"content-length: ", b"Content-Length: ", b"content-length:", b"Content-Length:")


def body_at(answer: bytes | bytearray) -> tuple[int, int] | None:
    """Where the body of an HTTP answer begins and ends; None while the answer is not whole.

    >>> body_at(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok")
    (38, 40)
    >>> body_at(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\no") is None
    True
    >>> body_at(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n0\\r\\n\\r\\n")
    (47, 59)
    """
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return None
    for name in _LENGTHS:
        place = answer.find(name, 0, head)
        if place >= 0:
            place += len(name)
            end = head + 4 + int(answer[place : answer.find(b"\r", place)])
            return (head + 4, end) if len(answer) >= end else None
    fields = bytes(answer[:head]).lower()
    if b"content-length" in fields:
        told = fields.partition(b"content-length")[2].partition(b"\r")[0]
        end = head + 4 + int(told.strip(b" :\t"))
        return (head + 4, end) if len(answer) >= end else None
    if b"chunked" in fields:
        return (head + 4, len(answer)) if answer.endswith(b"\r\n0\r\n\r\n") else None
    return head + 4, len(answer)  # no body is told, as of 204 and 304


@final
class Line:
    """One connection: what was sent on it and when it was due, and what has come back of it so far."""

    __slots__ = ("address", "buffer", "due", "place", "socket", "unsent")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address, self.buffer, self.unsent = address, bytearray(), b""
        self.due = self.place = -1
        self.socket = self.connected()

    def connected(self) -> socket.socket:
        made = socket.create_connection(self.address, timeout=10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        return made


@final
class Load:
    """One order: so many requests, by so many connections, as fast as they are answered or at a rate.

    Args:
        asked: `host`, `port`, `connections`; `count` (requests) or `seconds` (0: until told to stop); `rate` a second
            (0: closed loop, each connection sends when it was answered; else open loop: requests are due at times drawn
            from a Poisson process, whether or not earlier ones were answered, and are timed from when they were due);
            `patience` in seconds; `keep` (bodies of the first so many answers); `seed`.
        requests: whole HTTP requests, sent in turn.
    """

    def __init__(self, asked: dict[str, Any], requests: list[bytes]) -> None:
        self.asked, self.requests = asked, requests
        self.count, self.keep = asked["count"] or sys.maxsize, asked["keep"]
        self.starts, self.taken, self.statuses = array("q"), array("q"), array("q")
        self.bodies: list[bytes] = []
        self.sent, self.broken = 0, 0
        self.lines: dict[int, Line] = {}
        self.idle: deque[Line] = deque()
        self.away: list[tuple[int, int, Line]] = []
        self.poll = select.epoll()
        self.chance = random.Random(asked["seed"])
        self.clock = time.perf_counter_ns
        self.queue: deque[int] = deque()
        self.next_due = self.looked = 0

    def run(self) -> int:
        """Nanoseconds from the first request to the last answer."""
        address = (self.asked["host"], self.asked["port"])
        for _ in range(self.asked["connections"]):
            self.watch(Line(address))
        self.poll.register(0, select.EPOLLIN)
        print("{}", flush=True)  # from here on it can be told to stop
        begun = self.clock()
        end = begun + int(self.asked["seconds"] * 1e9) if self.asked["seconds"] else sys.maxsize
        self.next_due = begun
        if not self.asked["rate"]:
            for line in list(self.lines.values()):
                self.send(line, self.clock())
        else:
            self.idle.extend(self.lines.values())
        while self.going(end):
            self.step(end)
        taken = self.clock() - begun
        for line in self.lines.values():
            line.socket.close()
        self.poll.close()
        return taken

    def going(self, end: int) -> bool:
        """Whether anything is still to be sent or awaited; what is sent by the end is waited for."""
        if self.clock() >= end:
            self.count = min(self.count, self.sent + len(self.queue))
        return len(self.statuses) < self.count

    def step(self, end: int) -> None:
        """Wait for what happens next, and do what it asks for."""
        for number, what in self.poll.poll(self.pause(end)):
            if number == 0:
                self.told()
                continue
            line = self.lines[number]
            if line.unsent and what & select.EPOLLOUT:
                self.push(line)
            if what & ~select.EPOLLOUT:
                self.read(line)
        if self.asked["rate"]:
            self.fall_due()
        if self.away:
            self.come_back()
        self.give_up()

    def pause(self, end: int) -> float:
        """Seconds to wait at most."""
        now, wait = self.clock(), 0.1
        if self.asked["rate"] and self.sent + len(self.queue) < self.count:
            wait = min(wait, max((self.next_due - now) / 1e9, 0.0))
        if self.away:
            wait = min(wait, max((self.away[0][0] - now) / 1e9, 0.0))
        return max(min(wait, (end - now) / 1e9), 0.0)

    def told(self) -> None:
        """Standard input says stop, or has ended."""
        os.read(0, 4096)
        self.count = min(self.count, self.sent + len(self.queue))
        self.poll.unregister(0)

    def fall_due(self) -> None:
        """Requests whose time has come go out on connections that are free, and wait in line for one otherwise."""
        now = self.clock()
        while self.next_due <= now and self.sent + len(self.queue) < self.count:
            self.queue.append(self.next_due)
            self.next_due += int(self.chance.expovariate(self.asked["rate"]) * 1e9)
        while self.queue and self.idle:
            self.send(self.idle.popleft(), self.queue.popleft())

    def send(self, line: Line, due: int) -> None:
        """The next request, on a connection that is free."""
        if self.sent >= self.count:
            return
        line.due, line.place = due, self.sent
        request = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        try:
            done = line.socket.send(request)
        except BlockingIOError:
            done = 0
        except OSError:
            self.lose(line, LOST)
            return
        if done < len(request):
            line.unsent = request[done:]
            self.poll.modify(line.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def push(self, line: Line) -> None:
        """What did not fit into the socket's buffer before."""
        try:
            line.unsent = line.unsent[line.socket.send(line.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.lose(line, LOST)
            return
        if not line.unsent:
            self.poll.modify(line.socket.fileno(), select.EPOLLIN)

    def read(self, line: Line) -> None:
        """What has come in; a whole answer is noted, and the connection asks again."""
        try:
            came = line.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self.lose(line, LOST)
            return
        if line.buffer:
            line.buffer += came
            found = body_at(line.buffer)
        else:
            found = body_at(came)
            if found is None:
                line.buffer += came
        if found is None:
            return
        whole = bytes(line.buffer) or came
        line.buffer.clear()
        status = int(whole[9:12])
        if line.place < self.keep and status == 200:
            self.bodies.append(line.place.to_bytes(4, "little") + whole[found[0] : found[1]])
        self.note(line, status)
        if b"connection: close" in whole[: found[0]].lower():
            self.leave(line, 0)
        else:
            self.free(line)

    def note(self, line: Line, status: int) -> None:
        self.starts.append(line.due)
        self.taken.append(self.clock() - line.due)
        self.statuses.append(status)
        line.due = -1

    def free(self, line: Line) -> None:
        """A connection that may send again."""
        if not self.asked["rate"]:
            self.send(line, self.clock())
        elif self.queue:
            self.send(line, self.queue.popleft())
        else:
            self.idle.append(line)

    def lose(self, line: Line, status: int) -> None:
        """A connection that broke: its request has failed, and it is made anew."""
        self.broken += 1
        if line.due >= 0:
            self.note(line, status)
        elif line in self.idle:
            self.idle.remove(line)
        self.leave(line, 10_000_000)

    def leave(self, line: Line, wait: int) -> None:
        """Close a connection, and make it again after so many nanoseconds."""
        del self.lines[line.socket.fileno()]
        line.socket.close()
        line.buffer.clear()
        line.unsent = b""
        heapq.heappush(self.away, (self.clock() + wait, id(line), line))

    def come_back(self) -> None:
        """Connections that were lost are made again, and again until the server takes them."""
        now = self.clock()
        while self.away and self.away[0][0] <= now:
            _, _, line = heapq.heappop(self.away)
            try:
                line.socket = line.connected()
            except OSError:
                self.refused(line, now)
                heapq.heappush(self.away, (self.clock() + 10_000_000, id(line), line))
                continue
            self.watch(line)
            self.free(line)

    def refused(self, line: Line, now: int) -> None:
        """No connection: in a closed loop that is a request that failed; in an open one, requests wait in line."""
        if self.sent < self.count and not self.asked["rate"]:
            line.due, self.sent = now, self.sent + 1
            self.note(line, LOST)

    def give_up(self) -> None:
        """Requests that were not answered in time; looked for once in a while."""
        now = self.clock()
        if now < self.looked + 100_000_000:
            return
        self.looked = now
        limit = now - int(self.asked["patience"] * 1e9)
        for line in [one for one in self.lines.values() if 0 <= one.due < limit]:
            self.lose(line, LATE)

    def watch(self, line: Line) -> None:
        self.lines[line.socket.fileno()] = line
        self.poll.register(line.socket.fileno(), select.EPOLLIN)


def requests_in(path: str) -> list[bytes]:
    """Requests of a file, each after its length in eight bytes."""
    with open(path, "rb") as file:
        whole, place, found = file.read(), 0, []
    while place < len(whole):
        size = int.from_bytes(whole[place : place + 8], "little")
        found.append(whole[place + 8 : place + 8 + size])
        place += 8 + size
    return found


def order(asked: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order; what is told of it."""
    load = Load(asked, requests_in(asked["requests"]))
    taken = load.run()
    with open(asked["results"], "wb") as file:
        for column in (load.starts, load.taken, load.statuses):
            column.tofile(file)
    with open(asked["bodies"], "wb") as file:
        for body in load.bodies:
            file.write(len(body).to_bytes(8, "little") + body)
    return {"nanoseconds": taken, "broken": load.broken, "count": len(load.statuses)}


def main() -> None:
    """Orders, one a line, until standard input ends."""
    import gc

    gc.disable()
    kept = b""
    while True:
        while b"\n" not in kept:
            came = os.read(0, 1 << 16)
            if not came:
                return
            kept += came
        line, _, kept = kept.partition(b"\n")
        if line == STOP.strip():  # it came after the last request was answered
            continue
        try:
            told = order(json.loads(line))
        except OSError as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
