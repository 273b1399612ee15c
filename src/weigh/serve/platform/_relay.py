"""A relay that keeps each answer for a while: a slow server is planted with it, whatever the server."""

from __future__ import annotations

import asyncio
import sys


async def _serve(host: str, port: int, seconds: float) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, onward = await asyncio.open_connection(host, port)
        await asyncio.gather(_pass(reader, onward, 0.0), _pass(back, writer, seconds))

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    try:
        while came := await source.read(1 << 16):
            await asyncio.sleep(seconds)
            target.write(came)
            await target.drain()
    finally:
        target.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
