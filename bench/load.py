"""Rows in which sipp calls dfks and the yardstick in turn."""

from pathlib import Path

import sipp
from goal import Measured
from server import Kamailio, One, Server, Three, running
from statistic import Search

RATE = {"a": 4000, "b": 100}  # calls a second
TRANSACTIONS = 22  # of one call of press.xml: a subscription, 20 key presses, its end
RATES = [500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 12_000, 14_000, 16_000]


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def loaded(kind: type[Server], binary: Path, name: str, rate: int, seconds: int) -> tuple[sipp.Load, float]:
    """One run against a fresh server: what came of it, and µs of processor time a call."""
    with running(kind, binary) as server:
        before = server.cpu()
        load = sipp.call(server.address, name, rate, rate * seconds, server.is_yardstick)
        each = 1e6 * (server.cpu() - before) / max(load.done, 1)
    say(
        f"{kind.title:22} {name} {rate}/s {seconds} s: {each:.0f} µs CPU a call, {load.failed} failed, "
        f"{load.again} sent again, {load.within_1ms:.0f} % within 1 ms"
    )
    return load, each


def a_cpu(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    one, three, within = Measured([]), Measured([]), Measured([])
    for _ in range(pairs):
        ours, our_cpu = loaded(One, binary, "subscribe", RATE["a"], seconds)
        theirs, their_cpu = loaded(Kamailio, binary, "subscribe", RATE["a"], seconds)
        split, split_cpu = loaded(Three, binary, "subscribe", RATE["a"], seconds)
        one.ours.append(our_cpu)
        three.ours.append(split_cpu)
        within.ours.append(ours.within_1ms)
        one.theirs.append(their_cpu)
        three.theirs.append(their_cpu)
        within.theirs.append(theirs.within_1ms)
        one.failed += ours.failed
        within.failed += ours.failed
        three.failed += split.failed
        one.note = three.note = noted(one.note, theirs)
    return {"a-one": one, "a-three": three, "a-within": within}


def noted(note: str, theirs: sipp.Load) -> str:
    """A yardstick that fails calls is no yardstick: it is said."""
    return (
        note
        if not theirs.failed
        else f"{note}{'; ' if note else ''}the yardstick failed {theirs.failed} calls of a run"
    )


def b_cpu(binary: Path, pairs: int, seconds: int) -> dict[str, Measured]:
    found = Measured([])
    for _ in range(pairs):
        ours, our_cpu = loaded(One, binary, "press", RATE["b"], seconds)
        theirs, their_cpu = loaded(Kamailio, binary, "press", RATE["b"], seconds)
        found.ours.append(our_cpu / TRANSACTIONS)
        found.theirs.append(their_cpu / TRANSACTIONS)
        found.failed += ours.failed
        found.note = noted(found.note, theirs)
    return {"b-one": found}


def a_highest(binary: Path, _pairs: int, seconds: int) -> dict[str, Measured]:
    """Both search at the same time, one try of each in turn."""
    searches = {One: Search(RATES), Kamailio: Search(RATES)}
    while any(search.rate for search in searches.values()):
        for kind, search in searches.items():
            if rate := search.rate:
                load, _ = loaded(kind, binary, "subscribe", rate, seconds)
                search.tell(load.is_clean())
    ours, theirs = (search.highest for search in searches.values())
    return {"a-highest": Measured([ours], [theirs], note=f"held {seconds} s; steps of {RATES[0]:,} to {RATES[-1]:,}/s")}
