"""Many phones behind a few UDP sockets: they subscribe, refresh, and answer each NOTIFY."""

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from process import BenchError

COPIED = (b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:")
RECEIVE_BYTES = 4 << 20
IN_FLIGHT = 32  # SUBSCRIBEs of one loop that wait for their end
SEND_AGAIN_SECONDS = 0.5  # T1 of RFC 3261
GIVE_UP_SECONDS = 10


@dataclass
class Dialog:
    """One subscription as its phone sees it."""

    presentity: str
    call_id: str
    socket: socket.socket
    to: str = ""  # the To header with the notifier's tag
    cseq: int = 0

    def subscribe(self, expires: int = 3600) -> bytes:
        self.cseq += 1
        host, port = self.socket.getsockname()
        user = self.presentity.removeprefix("sip:").partition("@")[0]
        return (
            f"SUBSCRIBE {self.presentity} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self.call_id}x{self.cseq};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <{self.presentity}>;tag=f{self.call_id}\r\n"
            f"To: {self.to or f'<{self.presentity}>'}\r\n"
            f"Call-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} SUBSCRIBE\r\n"
            f"Contact: <sip:{user}@{host}:{port}>\r\n"
            "Event: as-feature-event\r\n"
            f"Expires: {expires}\r\n"
            "Accept: application/x-as-feature-event+xml, multipart/mixed\r\n"
            "User-Agent: dfks-bench\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()


def header(message: bytes, name: bytes) -> bytes:
    """The value of a header; empty when it is not there."""
    return message.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def ok(request: bytes) -> bytes:
    """200 to a request."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    copied = [line for line in lines if line.startswith(COPIED)]
    return b"\r\n".join([b"SIP/2.0 200 OK", *copied, b"Content-Length: 0", b"", b""])


@dataclass
class Open:
    """A SUBSCRIBE that has not got all yet: its 200, and the NOTIFY after it."""

    dialog: Dialog
    packet: bytes
    began_at: float
    sent_at: float
    is_accepted: bool = False
    is_notified: bool = False


class Phones:
    """Phones of this process."""

    def __init__(self, server: tuple[str, int], sockets: int = 1) -> None:
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        for _ in range(sockets):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            one.bind(("127.0.0.1", 0))
            one.connect(server)
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ)
            self.sockets.append(one)

    def close(self) -> None:
        self.selector.close()
        for one in self.sockets:
            one.close()

    def dialogs(self, presentities: list[str]) -> list[Dialog]:
        """One for each, spread over the sockets."""
        stamp = f"{self.sockets[0].getsockname()[1]}x{time.monotonic_ns() % 10**9}"
        count = len(self.sockets)
        return [Dialog(one, f"{stamp}x{at}", self.sockets[at % count]) for at, one in enumerate(presentities)]

    def received(self, seconds: float) -> list[tuple[socket.socket, bytes]]:
        """What has come, after at most so long."""
        found = []
        for key, _ in self.selector.select(seconds):
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                while True:
                    found.append((key.fileobj, key.fileobj.recv(65535)))
        return found

    def answer(self, seconds: float = 0) -> int:
        """Answers the NOTIFYs that have come, and counts them."""
        notifies = [(one, packet) for one, packet in self.received(seconds) if packet.startswith(b"NOTIFY ")]
        for one, packet in notifies:
            one.send(ok(packet))
        return len(notifies)

    def subscribe(self, dialogs: list[Dialog]) -> None:
        """Subscribes, or refreshes, all of them: each gets its 200 and the NOTIFY that follows.

        Raises BenchError for another answer, and for none.
        """
        waiting, under_way = list(reversed(dialogs)), {}
        while waiting or under_way:
            now = time.monotonic()
            while waiting and len(under_way) < IN_FLIGHT:
                dialog = waiting.pop()
                begun = Open(dialog, dialog.subscribe(), now, now)
                under_way[dialog.call_id.encode()] = begun
                dialog.socket.send(begun.packet)
            for one, packet in self.received(0.05):
                call_id = header(packet, b"Call-ID")
                if packet.startswith(b"NOTIFY "):
                    one.send(ok(packet))
                if (begun := under_way.get(call_id)) and self.has_all(begun, packet):
                    del under_way[call_id]
            for begun in under_way.values():
                self.send_again(begun, time.monotonic())

    @staticmethod
    def has_all(begun: Open, packet: bytes) -> bool:
        if packet.startswith(b"NOTIFY "):
            begun.is_notified = True
        elif packet.startswith(b"SIP/2.0 200 "):
            begun.is_accepted, begun.dialog.to = True, header(packet, b"To").decode()
        else:
            raise BenchError(f"SUBSCRIBE was answered {packet[:40]!r}")
        return begun.is_accepted and begun.is_notified

    @staticmethod
    def send_again(begun: Open, now: float) -> None:
        if now - begun.began_at > GIVE_UP_SECONDS:
            raise BenchError(f"no 200 and NOTIFY for {begun.dialog.presentity} within {GIVE_UP_SECONDS} s")
        if not begun.is_accepted and now - begun.sent_at > SEND_AGAIN_SECONDS:
            begun.sent_at = now
            begun.dialog.socket.send(begun.packet)
