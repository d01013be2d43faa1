"""What refusals cost, and what a flood from one source does to the others: abuse.py PID HOST:PORT open|digest SECONDS.

Against a `dfks` with digest authentication it prints the processor time of each 401; against one without, that of
what its rate limit does, and how long other phones wait for their 200 before and while one source floods it. All
sources are on loopback.
"""

import contextlib
import dataclasses
import selectors
import socket
import sys
import threading
import time

from process import cpu_seconds

FLOODER = "127.0.0.2"
PHONES = 50  # sources, from 127.0.1.1 on
PHONE_RATE = 200  # SUBSCRIBEs a second of all of them together
WINDOW = 64  # requests under way at once, where each is answered
PATIENCE = 3.0  # seconds after which a request counts as lost; it is sent again each half second, as a phone does


def subscribe(source: tuple[str, int], number: int, more: str = "") -> bytes:
    host, port = source
    user = f"u{host.replace('.', '-')}x{number}"
    return (
        f"SUBSCRIBE sip:{user}@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{host}x{number};rport\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:{user}@example.com>;tag=f{number}\r\n"
        f"To: <sip:{user}@example.com>\r\n"
        f"Call-ID: {user}\r\n"
        "CSeq: 1 SUBSCRIBE\r\n"
        f"Contact: <sip:{user}@{host}:{port}>\r\n"
        "Event: as-feature-event\r\n"
        "Expires: 3600\r\n"
        f"{more}Content-Length: 0\r\n\r\n"
    ).encode()


def bound(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    one.bind((host, 0))
    return one


def line(text: str) -> None:
    print(f"abuse        {text}", flush=True)


def challenged(pid: int, server: tuple[str, int], seconds: float) -> None:
    """A closed loop of requests without credentials, each answered 401."""
    one = bound(FLOODER)
    one.settimeout(2)
    sent = answered = 0
    before, began = cpu_seconds(pid), time.monotonic()
    while time.monotonic() - began < seconds:
        while sent - answered < WINDOW:
            one.sendto(subscribe(one.getsockname(), sent), server)
            sent += 1
        assert one.recv(4096).startswith(b"SIP/2.0 401 "), "a challenge"
        answered += 1
    took = time.monotonic() - began
    each = 1e6 * (cpu_seconds(pid) - before) / answered
    line(f"401: {answered} in {took:.1f} s, {answered / took:.0f}/s, {each:.1f} µs CPU each (dfks alone)")


class Flood(threading.Thread):
    """One source that sends as fast as it can."""

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.server, self.sent, self.answers, self.is_over = server, 0, {}, False

    def run(self) -> None:
        one = bound(FLOODER)
        one.setblocking(False)
        packets = [subscribe(one.getsockname(), number) for number in range(1000)]
        while not self.is_over:
            for packet in packets[:100]:
                try:
                    one.sendto(packet, self.server)
                    self.sent += 1
                except BlockingIOError:
                    break
            packets = packets[100:] + packets[:100]
            with contextlib.suppress(BlockingIOError):
                while True:
                    first, second = one.recv(8192).split(b" ", 2)[:2]
                    kind = second.decode() if first == b"SIP/2.0" else first.decode()
                    self.answers[kind] = self.answers.get(kind, 0) + 1


class Phones:
    """Other phones, that ask at a steady rate and answer every NOTIFY."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.sockets = [bound(f"127.0.1.{at + 1}") for at in range(PHONES)]
        self.ready = selectors.DefaultSelector()
        for one in self.sockets:
            one.setblocking(False)
            self.ready.register(one, selectors.EVENT_READ)
        self.waits: dict[bytes, Wait] = {}  # by Call-ID
        self.took_ms: list[float] = []
        self.lost = self.again = 0

    def ask(self, number: int) -> None:
        one = self.sockets[number % PHONES]
        packet = subscribe(one.getsockname(), number)
        one.sendto(packet, self.server)
        now = time.monotonic()
        self.waits[call_id_of(packet)] = Wait(now, now, packet, one)

    def read(self) -> None:
        for key, _ in self.ready.select(0.002):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.received(key.fileobj, key.fileobj.recv(8192))

    def received(self, one: socket.socket, message: bytes) -> None:
        if message.startswith(b"NOTIFY "):
            lines = message.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
            copied = [text for text in lines if text.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")]
            answer = [b"SIP/2.0 200 OK", *copied, b"Content-Length: 0", b"", b""]
            one.sendto(b"\r\n".join(answer), self.server)
        elif wait := self.waits.pop(call_id_of(message), None):
            if message.startswith(b"SIP/2.0 200 "):
                self.took_ms.append(1e3 * (time.monotonic() - wait.began_at))
            else:
                self.lost += 1

    def send_again(self) -> None:
        now = time.monotonic()
        for wait in self.waits.values():
            if now - wait.sent_at > 0.5:
                wait.sent_at = now
                self.again += 1
                wait.socket.sendto(wait.packet, self.server)

    def close(self) -> None:
        self.ready.close()
        for one in self.sockets:
            one.close()


@dataclasses.dataclass
class Wait:
    """A request that has no final response yet."""

    began_at: float
    sent_at: float
    packet: bytes
    socket: socket.socket


def call_id_of(message: bytes) -> bytes:
    return message.split(b"Call-ID: ", 1)[1].split(b"\r", 1)[0]


def phones(server: tuple[str, int], seconds: float, first: int) -> tuple[list[float], int, int]:
    """How long each of the other phones waited for its 200 in ms, how many never got it, how many had to ask twice."""
    others, number, began = Phones(server), first, time.monotonic()
    while (passed := time.monotonic() - began) <= seconds or (others.waits and passed <= seconds + PATIENCE):
        while passed <= seconds and number - first < passed * PHONE_RATE:
            others.ask(number)
            number += 1
        others.read()
        others.send_again()
    others.close()
    return sorted(others.took_ms), others.lost + len(others.waits), others.again


def said(what: str, took: list[float], lost: int, again: int) -> str:
    def at(share: float) -> float:
        return took[min(int(share * len(took)), len(took) - 1)] if took else float("nan")

    return (
        f"{what}: {len(took)} phones served, {lost} not, {again} sent again; "
        f"their 200 after {at(0.5):.1f} ms (median), {at(0.95):.1f} (95 %), {at(1):.0f} (last)"
    )


def flooded(pid: int, server: tuple[str, int], seconds: float) -> None:
    line(said("without a flood", *phones(server, seconds, 0)))
    flood = Flood(server)
    before, began = cpu_seconds(pid), time.monotonic()
    flood.start()
    other = phones(server, seconds, 100_000)
    took = time.monotonic() - began
    flood.is_over = True
    flood.join()
    line(said("in a flood", *other))
    each = 1e6 * (cpu_seconds(pid) - before) / max(flood.sent, 1)
    line(
        f"the flood: {flood.sent} SUBSCRIBEs from one source in {took:.1f} s, {flood.sent / took:.0f}/s, "
        f"answered {flood.answers}, at most {each:.1f} µs CPU each (dfks alone, the other phones included)"
    )


def main() -> None:
    pid, (host, port), mode, seconds = int(sys.argv[1]), sys.argv[2].rsplit(":", 1), sys.argv[3], float(sys.argv[4])
    (challenged if mode == "digest" else flooded)(pid, (host, int(port)), seconds)


if __name__ == "__main__":
    main()
