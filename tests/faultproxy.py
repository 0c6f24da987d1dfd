"""A TCP proxy between two real programs that makes the network between them misbehave."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
MAX_CONNECTIONS = 256
CONNECT_TIMEOUT_S = 5.0
# SO_LINGER on, for 0 s: closing sends a reset instead of an orderly end.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens at a port of its own and passes everything on to one upstream.

    Faults last until `heal`:

    - `delay(s)`: every chunk, either way, comes that much later;
    - `black_hole()`: connections are accepted and stay open, and nothing arrives at either end;
    - `black_hole(replies_only=True)`: requests reach the upstream, their answers are never heard;
    - `refuse()`: nobody listens any more, and what is open is cut.

    `cut()` resets all open connections once. What a black hole swallowed arrives after `heal`,
    unless its connection was given up.
    """

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self.host = HOST
        self.port = 0
        self.accepted = 0
        self._upstream = (upstream_host, upstream_port)
        self._delay_s = 0.0
        self._requests_pass = asyncio.Event()
        self._replies_pass = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._links)

    async def start(self) -> Self:
        await self.heal()
        return self

    async def stop(self) -> None:
        """Stop listening and cut everything. May be called twice."""
        await self._stop_listening()
        self._let_go()
        links = list(self._links)
        self.cut()
        await asyncio.gather(*links, return_exceptions=True)

    def delay(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def black_hole(self, *, replies_only: bool = False) -> None:
        self._replies_pass.clear()
        if not replies_only:
            self._requests_pass.clear()

    def cut(self) -> None:
        for link, writers in self._links.items():
            for writer in writers:
                reset(writer)
            link.cancel()

    async def refuse(self) -> None:
        """Refuse connections. The port stays ours meanwhile, so that nobody else's connection takes it."""
        await self._stop_listening()
        self.cut()
        if self._placeholder is None:
            self._placeholder = socket.socket()
            self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._placeholder.bind((self.host, self.port))

    async def heal(self) -> None:
        """End every fault; listen at the same port as before."""
        self._delay_s = 0.0
        self._requests_pass.set()
        self._replies_pass.set()
        self._let_go()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def _let_go(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._links) >= MAX_CONNECTIONS:
            reset(writer)
            return
        self.accepted += 1
        writers = [writer]
        # A task of its own, that `cut` may cancel: asyncio logs a cancelled handler as an error.
        link = asyncio.create_task(self._join(writers, reader, writer))
        self._links[link] = writers
        await asyncio.wait([link])
        del self._links[link]
        for open_writer in writers:
            open_writer.transport.abort()

    async def _join(
        self,
        writers: list[asyncio.StreamWriter],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on both ways until both sources have ended, or one side went away."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            writers.append(upstream_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass_on(reader, upstream_writer, self._requests_pass))
                ways.create_task(self._pass_on(upstream_reader, writer, self._replies_pass))
        except* OSError:
            reset(writer)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, may_pass: asyncio.Event
    ) -> None:
        """One direction, until its source ends. One chunk is held; the rest waits in TCP."""
        while chunk := await source.read(CHUNK_BYTES):
            await asyncio.sleep(self._delay_s)
            await may_pass.wait()
            if sink.is_closing():
                return
            sink.write(chunk)
            await sink.drain()
        await may_pass.wait()
        if not sink.is_closing():
            sink.write_eof()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
        writer.transport.abort()
