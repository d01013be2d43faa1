"""Rows in which services set features."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from goal import Measured
from load import say
from natswire import Nats
from phone import Phones, ok
from process import BenchError, cpu_seconds, die_with_parent
from server import One, running
from statistic import median, percentile

HERE = Path(__file__).resolve().parent
ALICE = "sip:alice@bench.example.com"
ECHO = "bench.echo"
IN_FLIGHT = 64
PRESENTITIES = 1000
HEAD = b"POST /mi HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def setting(presentity: str, status: int) -> bytes:
    return json.dumps({"presentity": presentity, "feature": "DoNotDisturb", "status": status}).encode()


@contextlib.contextmanager
def beside(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A script of this folder in a process of its own."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls the kernel
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def set_notify(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    """Before and after the sets, round trips on the same connection, to a process that only sends back."""
    middle, late = Measured([], []), Measured([], [])
    for _ in range(pairs):
        with running(One, binary) as server, beside("echo.py", server.nats_port, ECHO):
            nats, phones = Nats(server.nats_port), Phones(("127.0.0.1", server.sip))
            phones.subscribe(phones.dialogs([ALICE]))
            answered(nats)
            trips = round_trips(nats, seconds / 4)
            told = set_and_wait(nats, phones, seconds)
            trip = median(trips + round_trips(nats, seconds / 4))
            nats.close()
            phones.close()
        middle.ours.append(median(told))
        late.ours.append(percentile(told, 0.95))
        middle.theirs.append(trip)
        late.theirs.append(trip)
        say(f"dfks.set → NOTIFY: median {median(told):.2f} ms, p95 {late.ours[-1]:.2f}; NATS round trip {trip:.3f} ms")
    middle.note = late.note = "one set after another; the round trip is between two processes of the bench"
    return {"set-median": middle, "set-p95": late}


def answered(nats: Nats) -> None:
    """Waits until the echo is there."""
    for _ in range(500):
        if not nats.request(ECHO, b"").is_nobody:
            return
        time.sleep(0.01)
    raise BenchError("nobody echoes")


def round_trips(nats: Nats, seconds: float) -> list[float]:
    """Milliseconds of requests one after another."""
    trips, payload, end = [], setting(ALICE, 1), time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter_ns()
        nats.request(ECHO, payload)
        trips.append((time.perf_counter_ns() - began) / 1e6)
    return trips


def set_and_wait(nats: Nats, phones: Phones, seconds: float) -> list[float]:
    """Milliseconds from each set to its NOTIFY; the next set follows its reply."""
    one = phones.sockets[0]
    one.settimeout(5)
    told, end, status = [], time.monotonic() + seconds, 1
    while time.monotonic() < end:
        began = time.perf_counter_ns()
        reply = nats.send("dfks.set", setting(ALICE, status))
        notify = one.recv(65535)
        took = time.perf_counter_ns() - began
        one.send(ok(notify))
        while not any(message.subject == reply for message in nats.receive()):
            pass
        told.append(took / 1e6)
        status = 1 - status
    return told


def mi_set(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    serial, many = Measured([]), Measured([])
    for _ in range(pairs):
        with running(One, binary) as server:
            with beside("watch.py", server.sip, ALICE, 1, "quiet") as phone:
                phone.stdout.readline()
                rate, failed = one_after_another(server.mi, seconds)
            serial.ours.append(rate)
            serial.failed += failed
            rate, failed, cpu = in_flight(server.nats_port, seconds)
            many.ours.append(rate)
            many.failed += failed
        say(f"MI sets: {serial.ours[-1]:,.0f}/s one after another, dfks.set {rate:,.0f}/s with {IN_FLIGHT} in flight")
        many.note = f"the asking process takes {cpu:.0f} % of a core"
    return {"mi-one": serial, "mi-64": many}


def one_after_another(port: int, seconds: float) -> tuple[float, int]:
    """`dfks_set_feature` over one connection to `/mi`, for a presentity with a phone: sets a second, failed ones."""
    done = failed = 0
    with socket.create_connection(("127.0.0.1", port)) as http:
        http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        http.settimeout(10)
        began = time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            parameters = {"presentity": ALICE, "feature": "DoNotDisturb", "status": done % 2}
            call = {"jsonrpc": "2.0", "id": done, "method": "dfks_set_feature", "params": parameters}
            body = json.dumps(call).encode()
            http.sendall(HEAD % len(body) + body)
            if b'"result"' not in answer_of(http):
                failed += 1
            done += 1
    return done / took, failed


def answer_of(http: socket.socket) -> bytes:
    """The body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(http)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += received(http)
    return body


def received(http: socket.socket) -> bytes:
    data = http.recv(65536)
    if not data:
        raise BenchError("the mi bridge closed the connection")
    return data


def in_flight(port: int, seconds: float) -> tuple[float, int, float]:
    """Sets a second over NATS with so many unanswered, how many failed, and what asking costs in % of a core."""
    nats = Nats(port)
    sent = done = failed = 0
    before, began = cpu_seconds("self"), time.monotonic()
    for _ in range(IN_FLIGHT):
        sent = send_next(nats, sent)
    while time.monotonic() - began < seconds:
        for message in nats.receive():
            done += 1
            failed += message.is_nobody or b'"error"' in message.payload
            sent = send_next(nats, sent)
    took = time.monotonic() - began
    cpu = 100 * (cpu_seconds("self") - before) / took
    nats.close()
    return done / took, failed, cpu


def send_next(nats: Nats, sent: int) -> int:
    presentity, turn = sent % PRESENTITIES, sent // PRESENTITIES
    nats.send("dfks.set", setting(f"sip:u{presentity}@bench.example.com", 1 - turn % 2))
    return sent + 1


def watchers(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    found = Measured([])
    with running(One, binary) as server:
        nats = Nats(server.nats_port)
        with beside("watch.py", server.sip, ALICE, 1000) as phones:
            phones.stdout.readline()
            for turn in range(max(4 * pairs, seconds)):
                time.sleep(0.3)
                began = time.monotonic_ns()
                nats.request("dfks.set", setting(ALICE, 1 - turn % 2))
                last = int(phones.stdout.readline())
                if last:
                    found.ours.append((last - began) / 1e6)
                else:
                    found.failed += 1
        nats.close()
    say(f"1,000 watchers: median {median(found.ours):.1f} ms, {found.failed} sets without 1,000 NOTIFYs in time")
    return {"watchers": found}
