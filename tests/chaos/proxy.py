"""A TCP proxy on loopback that can hold what goes through it, cut it, and let nothing new in."""

import asyncio
import socket
import struct


class Half(asyncio.Protocol):
    """One end of a connection; what it reads goes to the other end."""

    def __init__(self, pair: "Pair") -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pair.joined(self)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)
        else:
            self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pair.close()

    def pause_writing(self) -> None:
        if self.other and self.other.transport and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.pair.proxy.is_held and self.other and self.other.transport:
            self.other.transport.resume_reading()


class Pair:
    """A connection through the proxy."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.halves: list[Half] = []
        self.near: Half = Half(self)
        self.far: Half = Half(self)
        proxy.pairs.add(self)

    def joined(self, half: Half) -> None:
        self.halves.append(half)
        if self.proxy.is_held and half.transport:
            half.transport.pause_reading()
        if half is self.near:
            if self.proxy.is_shut:
                self.close(reset=True)
            else:
                self.dialling = asyncio.ensure_future(self.dial())
            return
        self.near.other, self.far.other = self.far, self.near
        for data in self.near.early:
            assert half.transport
            half.transport.write(data)

    async def dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, "127.0.0.1", self.proxy.to)
        except OSError:
            self.close(reset=True)

    def close(self, reset: bool = False) -> None:
        self.proxy.pairs.discard(self)
        for half in self.halves:
            transport = half.transport
            if transport is None or transport.is_closing():
                continue
            if reset:
                linger = struct.pack("ii", 1, 0)  # so that closing is a RST
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                transport.abort()
            else:
                transport.close()

    def hold(self, is_held: bool) -> None:
        for half in self.halves:
            if half.transport and not half.transport.is_closing():
                (half.transport.pause_reading if is_held else half.transport.resume_reading)()


class Proxy:
    """Listens on `port` and goes on to the port `to`."""

    def __init__(self, port: int, to: int) -> None:
        self.port, self.to = port, to
        self.pairs: set[Pair] = set()
        self.is_held = self.is_shut = False
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Pair(self).near, "127.0.0.1", self.port)

    def hold(self, is_held: bool) -> None:
        """Nothing gets through, and everything that was sent meanwhile gets through later."""
        self.is_held = is_held
        for pair in list(self.pairs):
            pair.hold(is_held)

    def cut(self) -> None:
        """Ends every connection with a RST."""
        for pair in list(self.pairs):
            pair.close(reset=True)

    def shut(self, is_shut: bool) -> None:
        """Ends every connection and lets no new one in, or in again."""
        self.is_shut = is_shut
        if is_shut:
            self.cut()

    def close(self) -> None:
        if self.server:
            self.server.close()
        self.cut()
