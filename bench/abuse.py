"""What refusals cost, and what a flood from one source does to the others: abuse.py PID HOST:PORT open|digest SECONDS.

Against a `dfks` with digest authentication it prints the processor time of each 401; against one without, that of what its rate limit
does, and how long other phones wait for their 200 before and while one source floods it. All sources are on loopback.
"""

import selectors
import socket
import sys
import threading
import time

from measure import cpu_seconds

FLOODER = "127.0.0.2"
PHONES = 50  # sources, from 127.0.1.1 on
PHONE_RATE = 200  # SUBSCRIBEs a second of all of them together
WINDOW = 64  # requests under way at once, where each is answered
PATIENCE = 3.0  # seconds after which a request counts as lost; it is sent again each half second, as a phone does


def subscribe(source: tuple[str, int], number: int, more: str = "") -> bytes:
    host, port = source
    user = f"u{host.replace('.', '-')}x{number}"
    return (
        f"SUBSCRIBE sip:{user}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{host}x{number};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:{user}@example.com>;tag=f{number}\r\nTo: <sip:{user}@example.com>\r\nCall-ID: {user}\r\nCSeq: 1 SUBSCRIBE\r\n"
        f"Contact: <sip:{user}@{host}:{port}>\r\nEvent: as-feature-event\r\nExpires: 3600\r\n{more}Content-Length: 0\r\n\r\n"
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
    line(
        f"401: {answered} in {took:.1f} s, {answered / took:.0f}/s, {1e6 * (cpu_seconds(pid) - before) / answered:.1f} µs CPU each (dfks alone)"
    )


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
            try:
                while True:
                    first, second = one.recv(8192).split(b" ", 2)[:2]
                    kind = second.decode() if first == b"SIP/2.0" else first.decode()
                    self.answers[kind] = self.answers.get(kind, 0) + 1
            except BlockingIOError:
                pass


def phones(server: tuple[str, int], seconds: float, first: int) -> tuple[list[float], int, int]:
    """Other phones at a steady rate: how long each waited for its 200 in ms, how many never got it, how many had to ask twice."""
    sockets = [bound(f"127.0.1.{at + 1}") for at in range(PHONES)]
    ready = selectors.DefaultSelector()
    for one in sockets:
        one.setblocking(False)
        ready.register(one, selectors.EVENT_READ)
    waits: dict[bytes, list] = {}  # Call-ID → [first sent, last sent, packet, socket]
    took, again, number, began = [], 0, first, time.monotonic()
    lost = 0
    while True:
        now = time.monotonic()
        if now - began > seconds and (not waits or now - began > seconds + PATIENCE):
            break
        while now - began <= seconds and number - first < (now - began) * PHONE_RATE:
            one = sockets[number % PHONES]
            packet = subscribe(one.getsockname(), number)
            call_id = packet.split(b"Call-ID: ", 1)[1].split(b"\r", 1)[0]
            one.sendto(packet, server)
            waits[call_id] = [now, now, packet, one]
            number += 1
        for key, _ in ready.select(0.002):
            try:
                while True:
                    message = key.fileobj.recv(8192)
                    call_id = message.split(b"Call-ID: ", 1)[1].split(b"\r", 1)[0]
                    if message.startswith(b"NOTIFY "):
                        head = [
                            part
                            for part in message.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
                            if part.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
                        ]
                        key.fileobj.sendto(
                            b"SIP/2.0 200 OK\r\n" + b"\r\n".join(head) + b"\r\nContent-Length: 0\r\n\r\n", server
                        )
                    elif call_id in waits:
                        begun = waits.pop(call_id)[0]
                        took.append(1e3 * (time.monotonic() - begun)) if message.startswith(b"SIP/2.0 200 ") else None
                        lost += not message.startswith(b"SIP/2.0 200 ")
            except BlockingIOError:
                pass
        for wait in waits.values():
            if now - wait[1] > 0.5:
                wait[1], again = now, again + 1
                wait[3].sendto(wait[2], server)
    for one in sockets:
        one.close()
    return sorted(took), lost + len(waits), again


def said(what: str, took: list[float], lost: int, again: int) -> str:
    at = lambda share: took[min(int(share * len(took)), len(took) - 1)] if took else float("nan")
    return f"{what}: {len(took)} phones served, {lost} not, {again} sent again; their 200 after {at(0.5):.1f} ms (median), {at(0.95):.1f} (95 %), {at(1):.0f} (last)"


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
    cpu = cpu_seconds(pid) - before
    line(
        f"the flood: {flood.sent} SUBSCRIBEs from one source in {took:.1f} s, {flood.sent / took:.0f}/s, answered {flood.answers}, at most {1e6 * cpu / max(flood.sent, 1):.1f} µs CPU each (dfks alone, the other phones included)"
    )


def main() -> None:
    pid, (host, port), mode, seconds = int(sys.argv[1]), sys.argv[2].rsplit(":", 1), sys.argv[3], float(sys.argv[4])
    (challenged if mode == "digest" else flooded)(pid, (host, int(port)), seconds)


if __name__ == "__main__":
    main()
