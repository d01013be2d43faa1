"""Rows in which many subscriptions are held."""

import math
import time
from pathlib import Path

import sipp
from command import setting
from goal import Measured
from load import say
from natswire import Nats
from phone import Phones
from process import BenchError
from server import One, Role, Server, Three, running
from statistic import median

MIB = 1 << 20
SUBSCRIPTIONS = 'dfks_edge_subscriptions{state="active"}'
STORED, MILLION = 100_000, 1_000_000
SETTLE_SECONDS = 35  # Timer J of RFC 3261 is 32 s: until then transactions are remembered
SAMPLE = 1000
CALLS = 20_000  # of which the processor time of one is measured
FILL_RATE = 5000  # at most
AT_ONCE = 200


def fill(server: Server, rate: int, calls: int) -> tuple[int, float]:
    """Failed calls, and µs of processor time a call."""
    before = server.cpu()
    load = sipp.call(server.address, "subscribe", rate, calls)
    return load.failed, 1e6 * (server.cpu() - before) / max(load.done, 1)


def fill_up(server: Server, calls: int) -> int:
    """Failed calls; as fast as the server takes them, where the rate is not what is asked for."""
    return sipp.call(server.address, "subscribe", FILL_RATE, calls, at_once=AT_ONCE).failed


def check(role: Role, wanted: int) -> int:
    """How many subscriptions the edge does not hold, or holds too many."""
    held = role.metric(SUBSCRIPTIONS)
    if math.isnan(held):
        raise BenchError(f"no metric {SUBSCRIPTIONS}")
    return abs(wanted - int(held))


def fifty_thousand(binary: Path, _pairs: int, _seconds: int) -> dict[str, Measured]:
    with running(One, binary) as server:
        failed, _ = fill(server, 2000, 50_000)
        failed = max(failed, check(server.edge, 50_000))
        whole = server.rss() / MIB
    say(f"50,000 filled: {whole:.0f} MiB, {failed} failed")
    return {"fill": Measured([whole], failed=failed)}


def stored(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    idle, start = Measured([]), Measured([])
    with running(One, binary) as server:
        idle.failed = fill_up(server, STORED)
        time.sleep(SETTLE_SECONDS)
        for _ in range(3):
            before, began = server.cpu(), time.monotonic()
            time.sleep(seconds)
            idle.ours.append(100 * (server.cpu() - before) / (time.monotonic() - began))
        start.failed = check(server.edge, STORED)
        for _ in range(pairs):
            server.stop()
            began = time.monotonic()
            server.start()
            start.ours.append(time.monotonic() - began)
            start.failed += check(server.edge, STORED)
    say(f"100,000 stored: idle {median(idle.ours):.1f} % of a core, ready after {median(start.ours):.2f} s")
    return {"start": start, "idle": idle}


def million(binary: Path, _pairs: int, _seconds: int) -> dict[str, Measured]:
    """sipp fills it and keeps no dialog; phones of this process keep a sample, refreshed and notified at the end."""
    with running(Three, binary) as server:
        phones = Phones(("127.0.0.1", server.sip))
        names = [f"sip:sample{at}@bench.example.com" for at in range(SAMPLE)]
        dialogs = phones.dialogs(names)
        empty = server.edge.process.rss()
        phones.subscribe(dialogs)
        failed = fill_up(server, 10_000 - SAMPLE)
        more, few = fill(server, 2000, CALLS)
        failed += more
        say(f"at 10,000: {few:.0f} µs CPU a call, edge {server.edge.process.rss() / MIB:.0f} MiB, {failed} failed")
        failed += fill_up(server, MILLION - 10_000 - 2 * CALLS)
        more, many = fill(server, 2000, CALLS)
        failed += more
        say(f"at 1,000,000: {many:.0f} µs CPU a call, edge {server.edge.process.rss() / MIB:.0f} MiB, {failed} failed")
        phones.subscribe(dialogs)
        failed += notify_all(server.nats_port, phones, names)
        phones.close()
        time.sleep(SETTLE_SECONDS)
        failed = max(failed, check(server.edge, MILLION))
        rss, bus = server.edge.process.rss(), server.nats.rss() / MIB
        each = (rss - empty) / MILLION
        others = (server.worker.process.rss() + server.bridge.process.rss()) / MIB
    say(f"1,000,000 held: edge {rss / MIB:.0f} MiB, {each:.0f} B each, {failed} failed")
    note = f"{SAMPLE:,} refreshed and notified; nats-server {bus:,.0f} MiB, worker and mi bridge {others:,.0f} MiB"
    return {
        "memory": Measured([each], failed=failed, note="1,000,000 of them, after Timer J"),
        "million": Measured([rss / MIB], failed=failed, note=note),
        "million-cpu": Measured([many], [few], failed, "of all processes together, at 2,000/s"),
    }


def notify_all(port: int, phones: Phones, names: list[str]) -> int:
    """Sets a feature of each, and says how many of their phones were not notified."""
    nats, told = Nats(port), 0
    for name in names:
        nats.request("dfks.set", setting(name, 1))
        told += phones.answer()
    nats.close()
    end = time.monotonic() + 10
    while told < len(names) and time.monotonic() < end:
        told += phones.answer(0.1)
    return len(names) - told
