"""Stands between dfks and NATS, so that NATS can be away."""

import asyncio
import contextlib


class Relay:
    """`cut` ends all connections; while `is_away` is set, none comes through."""

    def __init__(self, port):
        self.port, self.is_away, self.open = port, False, set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def serve(self, reader, writer):
        if self.is_away:
            writer.close()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            # the run is over
            writer.close()
            return
        self.open |= {writer, back}
        # cancelled when the run is over
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self.pipe(reader, back), self.pipe(there, writer))
        self.open -= {writer, back}

    async def pipe(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self):
        for writer in self.open:
            writer.transport.abort()

    @property
    def connections(self):
        return len(self.open) // 2
