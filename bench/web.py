"""The row in which a PBX asks over HTTP for each call."""

import selectors
import socket
import time
from pathlib import Path

from command import ALICE, setting
from goal import Measured
from load import say
from natswire import Nats
from process import BenchError, cpu_seconds
from server import One, running
from statistic import median, percentile

CONNECTIONS = 16
ASK = f"GET /v1/features/{ALICE}/DoNotDisturb HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
HELD = b'"version":1'  # the route of the bench has its own say about the rest


def http_read(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    """Reads a feature that is set, and that has a watcher or not: it makes no difference."""
    one, many = Measured([]), Measured([])
    for _ in range(pairs):
        with running(One, binary) as server:
            nats = Nats(server.nats_port)
            nats.request("dfks.set", setting(ALICE, 1))
            nats.close()
            size = len(first(server.mi))
            took = one_by_one(server.mi, size, seconds)
            rate, cpu, failed = at_once(server.mi, size, seconds)
        one.ours.append(median(took))
        many.ours.append(rate)
        many.failed += failed
        one.note = f"p99 {percentile(took, 0.99):.2f} ms"
        many.note = f"the asking process takes {cpu:.0f} % of a core"
        say(f"GET /v1/features: median {one.ours[-1]:.3f} ms, {one.note}; {rate:,.0f}/s over {CONNECTIONS} connections")
    return {"http-read": one, "http-many": many}


def connected(port: int) -> socket.socket:
    http = socket.create_connection(("127.0.0.1", port))
    http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    http.settimeout(10)
    return http


def first(port: int) -> bytes:
    """A whole answer: all that follow are as long, so that they need not be read apart."""
    with connected(port) as http:
        http.sendall(ASK)
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            data += http.recv(65536) or closed()
        if not data.startswith(b"HTTP/1.1 200 ") or HELD not in data:
            raise BenchError(f"no state: {data[:200]!r}")
        return data


def closed() -> bytes:
    raise BenchError("the mi bridge closed the connection")


def one_by_one(port: int, size: int, seconds: float) -> list[float]:
    """Milliseconds of each answer."""
    took, end = [], time.monotonic() + seconds
    with connected(port) as http:
        while time.monotonic() < end:
            began = time.perf_counter_ns()
            http.sendall(ASK)
            left = size
            while left > 0:
                left -= len(http.recv(65536) or closed())
            took.append((time.perf_counter_ns() - began) / 1e6)
    return took


def at_once(port: int, size: int, seconds: float) -> tuple[float, float, int]:
    """A question out on each connection: answers a second, cost of asking in % of a core, answers without a state."""
    done = failed = 0
    left: dict[socket.socket, int] = {}
    before, began = cpu_seconds("self"), time.monotonic()
    with selectors.DefaultSelector() as ready:
        for _ in range(CONNECTIONS):
            http = connected(port)
            ready.register(http, selectors.EVENT_READ)
            left[http] = size
            http.sendall(ASK)
        while time.monotonic() - began < seconds:
            for key, _ in ready.select(10):
                http = key.fileobj
                data = http.recv(65536) or closed()
                left[http] -= len(data)
                if left[http] <= 0:
                    done += 1
                    failed += HELD not in data
                    left[http] = size
                    http.sendall(ASK)
        took = time.monotonic() - began
        for http in left:
            http.close()
    return done / took, 100 * (cpu_seconds("self") - before) / took, failed
