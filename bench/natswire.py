"""As much of the NATS protocol as a measurement needs: a client library would be measured along."""

import itertools
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

OPTIONS = {
    "verbose": False,
    "pedantic": False,
    "headers": True,
    "no_responders": True,
    "lang": "python",
    "version": "0",
}


@dataclass(frozen=True)
class Message:
    subject: str
    reply: str
    payload: bytes
    is_nobody: bool = False  # nobody answers there


class Reader:
    """Cuts a stream of bytes into messages. Pure."""

    def __init__(self) -> None:
        self.buffer = b""
        self.pings = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        self.buffer += data
        at = 0
        while (end := self.buffer.find(b"\r\n", at)) >= 0:
            line = self.buffer[at:end]
            if line.startswith((b"MSG ", b"HMSG ")):
                kind, subject, _, *rest = line.decode().split()
                after = end + 2 + int(rest[-1]) + 2
                if len(self.buffer) < after:
                    break
                head = int(rest[-2]) if kind == "HMSG" else 0
                reply = rest[0] if len(rest) == (3 if kind == "HMSG" else 2) else ""
                headers, payload = self.buffer[end + 2 : end + 2 + head], self.buffer[end + 2 + head : after - 2]
                yield Message(subject, reply, payload, headers.startswith(b"NATS/1.0 503"))
                at = after
            else:
                if line == b"PING":
                    self.pings += 1
                elif line.startswith(b"-ERR"):
                    raise ConnectionError(line.decode())
                at = end + 2
        self.buffer = self.buffer[at:]


class Nats:
    """One connection: requests, one after another or many at once."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(10)
        self.reader = Reader()
        self.inbox = f"_INBOX.bench{self.socket.getsockname()[1]}"
        self.ids = itertools.count()
        self.socket.sendall(f"CONNECT {json.dumps(OPTIONS)}\r\nSUB {self.inbox}.* 1\r\n".encode())

    def close(self) -> None:
        self.socket.close()

    def receive(self) -> list[Message]:
        """What has come, at least one message."""
        while True:
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError("nats-server closed the connection")
            messages = list(self.reader.feed(data))
            while self.reader.pings:
                self.reader.pings -= 1
                self.socket.sendall(b"PONG\r\n")
            if messages:
                return messages

    def send(self, subject: str, payload: bytes) -> str:
        """Publishes a request, and says at which subject its reply will come."""
        reply = f"{self.inbox}.{next(self.ids)}"
        self.socket.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload))
        return reply

    def request(self, subject: str, payload: bytes) -> Message:
        reply = self.send(subject, payload)
        return next(message for message in iter(lambda: self.receive()[-1], None) if message.subject == reply)
