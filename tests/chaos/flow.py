"""What carries a phone's messages: one UDP socket, or a TCP connection to each edge that it speaks with."""

import asyncio
import contextlib
from collections.abc import Callable

from process import host_of

from sip import Framer, Message, parse

Receive = Callable[[Message], None]


class UdpFlow(asyncio.DatagramProtocol):
    """One socket: requests may go to any edge, NOTIFYs come from any."""

    name, is_reliable = "UDP", False

    def __init__(self, receive: Receive, lost: Callable[[int], None], here: str) -> None:
        self.receive, self.here = receive, here
        self.transport: asyncio.DatagramTransport | None = None
        self.port = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.here, 0))
        self.port = self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse(data, f"{addr[0]}:{addr[1]}")
        if message:
            self.receive(message)

    async def reach(self, edge: int) -> None:
        """There is nothing to do before sending."""

    def send(self, edge: int, text: str) -> None:
        """Sends to the edge on this port."""
        if self.transport and not self.transport.is_closing():
            self.transport.sendto(text.encode("latin-1"), (host_of(edge), edge))

    def answer(self, request: Message, text: str) -> None:
        if self.transport and not self.transport.is_closing():
            host, port = request.sender.rsplit(":", 1)
            self.transport.sendto(text.encode("latin-1"), (host, int(port)))

    def has(self, _edge: int) -> bool:
        """Whether the edge can be reached without more ado."""
        return True

    def drop(self, _edge: int) -> None:
        """There is no connection that could be given up."""

    def close(self) -> None:
        if self.transport:
            self.transport.close()


class TcpFlow:
    """A connection to each edge, made when it is needed. `lost` is told of one that ended by itself."""

    name, is_reliable = "TCP", True

    def __init__(self, receive: Receive, lost: Callable[[int], None], here: str) -> None:
        self.receive, self.lost, self.here = receive, lost, here
        self.writers: dict[int, asyncio.StreamWriter] = {}
        self.readers: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Connections are made by what is sent."""

    async def reach(self, edge: int) -> None:
        """Connects to the edge on this port, if need be. Raises OSError or TimeoutError when it cannot be reached."""
        old = self.writers.get(edge)
        if old is None or old.is_closing():
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(host_of(edge), edge, local_addr=(self.here, 0)), 4
            )
            self.writers[edge] = writer
            task = asyncio.ensure_future(self.read(edge, reader, writer))
            self.readers.add(task)
            task.add_done_callback(self.readers.discard)
        self.port = self.writers[edge].get_extra_info("sockname")[1]

    def send(self, edge: int, text: str) -> None:
        """Sends over the connection to the edge on this port, if it is still there."""
        writer = self.writers.get(edge)
        if writer and not writer.is_closing():
            writer.write(text.encode("latin-1"))

    async def read(self, edge: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                for whole in framer.feed(data):
                    message = parse(whole, f"{host_of(edge)}:{edge}")
                    if message:
                        self.receive(message)
        writer.close()
        if self.writers.get(edge) is writer:
            del self.writers[edge]
            self.lost(edge)

    def answer(self, request: Message, text: str) -> None:
        writer = self.writers.get(int(request.sender.rsplit(":", 1)[1]))
        if writer and not writer.is_closing():
            writer.write(text.encode("latin-1"))

    def has(self, edge: int) -> bool:
        """Whether there is a connection to it."""
        return edge in self.writers

    def drop(self, edge: int) -> None:
        """Gives up a connection on which nothing comes back."""
        writer = self.writers.pop(edge, None)
        if writer:
            writer.close()

    def close(self) -> None:
        for task in list(self.readers):
            task.cancel()
        for writer in self.writers.values():
            writer.close()
