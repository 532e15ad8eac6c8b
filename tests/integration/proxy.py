"""The network between a client and a server: it can be slow, swallow everything, or refuse connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 64 * 1024


class Proxy:
    """Passes bytes on between `port` and a server of this machine, each way after `delay_s` seconds."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.port = 0
        self.target_port = 0
        self.delay_s = delay_s
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Take connections, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def swallow(self) -> None:
        """From now on nothing arrives: connections stay open, and new ones are taken, without an answer."""
        self._passing.clear()

    async def refuse(self) -> None:
        """From now on there are no connections, and those that were break off."""
        assert self._server is not None
        self._server.close()
        self._break()

    async def mend(self) -> None:
        """Pass bytes on again; connections made in the meantime break off."""
        self._break()
        self._passing.set()
        if self._server is None or not self._server.is_serving():
            await self.listen()

    async def end(self) -> None:
        """Close everything."""
        await self.refuse()
        pumps = tuple(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_000)
        arriving = asyncio.create_task(self._arrive(under_way, sink))
        clock = asyncio.get_running_loop().time
        try:
            with suppress(OSError):
                while chunk := await source.read(_CHUNK):
                    await under_way.put((clock() + self.delay_s, chunk))
            await under_way.put((0.0, b""))
            await arriving
        finally:
            arriving.cancel()

    async def _arrive(
        self, under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        with suppress(OSError):
            while True:
                at, chunk = await under_way.get()
                await asyncio.sleep(max(0.0, at - clock()))
                await self._passing.wait()
                if not chunk:
                    sink.close()
                    return
                sink.write(chunk)
                await sink.drain()


@asynccontextmanager
async def proxy(target_port: int = 0, delay_s: float = 0.0) -> AsyncIterator[Proxy]:
    """A proxy that listens; its `target_port` may be set later."""
    between = Proxy(delay_s)
    between.target_port = target_port
    await between.listen()
    try:
        yield between
    finally:
        await between.end()
