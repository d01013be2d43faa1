"""Phones that all watch one presentity, in a process of their own: watch.py PORT PRESENTITY COUNT [quiet].

Writes `ready`, and then, unless it is to be quiet, a line each time that all of them were notified: when the last
NOTIFY had come, in nanoseconds of the monotonic clock. They are answered after that, so that the server is measured.
"""

import sys
import time

from phone import Phones, header, ok

SOCKETS = 10
ANSWER_SECONDS = 0.3  # before the notifier sends again


def main() -> None:
    port, presentity, count, is_quiet = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), len(sys.argv) > 4
    phones = Phones(("127.0.0.1", port), min(SOCKETS, count))
    phones.subscribe(phones.dialogs([presentity] * count))
    print("ready", flush=True)
    while is_quiet:
        phones.answer(1)
    while True:
        collect(phones, count)


def collect(phones: Phones, count: int) -> None:
    """One round: until all were notified, or the first of them waits too long for an answer."""
    packets, told, began_at = [], set(), None
    while len(told) < count:
        for one, packet in phones.received(0.05):
            if packet.startswith(b"NOTIFY "):
                packets.append((one, packet))
                told.add(header(packet, b"Call-ID"))
        now = time.monotonic()
        began_at = began_at or (now if told else None)
        if began_at and now - began_at > ANSWER_SECONDS:
            break
    last_at = time.monotonic_ns()
    for one, packet in packets:
        one.send(ok(packet))
    print(last_at if len(told) == count else 0, flush=True)


if __name__ == "__main__":
    main()
