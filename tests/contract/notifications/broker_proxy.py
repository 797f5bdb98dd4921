"""A proxy before the broker, so that a test can cut its own connections and no other's."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

GARBAGE = b"\x01\x00\x00\x00\x00\x00\x04oops!"


async def eventually(is_so, within_s=8.0):
    """Waits until it is so; fails when it is not in time."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110, it looks at what has no event
            await asyncio.sleep(0.01)


class Proxy:
    """Lets bytes through to the broker, or not; while `is_mute` the broker's words get lost."""

    def __init__(self, url):
        self._broker = urlsplit(url)
        self._writers = set()
        self._to_broker = []
        self._server = None
        self.is_open = True
        self.is_mute = False
        self.url = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        place = self._broker.netloc.rpartition("@")
        self.url = self._broker._replace(netloc=f"{place[0]}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self):
        """All connections end without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._to_broker.clear()

    def provoke(self):
        """The broker gets what it must not get, and closes the connection by its protocol."""
        for writer in self._to_broker:
            writer.write(GARBAGE)

    async def _serve(self, reader, writer):
        if not self.is_open:
            writer.transport.abort()
            return
        near = reader, writer
        far = await asyncio.open_connection(self._broker.hostname, self._broker.port)
        self._writers |= {writer, far[1]}
        self._to_broker.append(far[1])
        await asyncio.gather(
            self._copy(near[0], far[1]), self._copy(far[0], near[1], may_be_mute=True)
        )

    async def _copy(self, reader, writer, *, may_be_mute=False):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not (may_be_mute and self.is_mute):
                    writer.write(data)
        writer.close()
