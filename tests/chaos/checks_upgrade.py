"""Promises of an upgrade, where nothing else happens: no subscription ends, and hardly anything is told twice."""

from collections import Counter

from ledger import Broken, Ledger

REPLACES = ("upgrade", "downgrade")
# how a dialog ends that its phone gave up, or that went with a connection
MAY_END = ("phone restarted", "unsubscribed", "connection lost")
# An edge that starts does not know what its phones have confirmed since it stored them last. One of the first version
# tells them what it asks for when it has started, and what comes again of its jobs.
MOST_TOLD_AGAIN = {"upgrade edge": 1, "downgrade edge": 2}


def check(ledger: Ledger) -> None:
    faults = ledger.record.faults
    if not faults or any(fault.kind not in REPLACES for fault in faults):
        return
    outlives(ledger)
    told_again(ledger)
    read(ledger)


def outlives(ledger: Ledger) -> None:
    """A dialog over UDP goes on, whichever process is replaced; a connection ends with its process."""
    name = "outlives the upgrade"
    for dialog in ledger.record.dialogs:
        if dialog.began_at is None or dialog.is_reliable:
            continue
        ledger.promise(name)
        if dialog.ended_at is not None and not dialog.end.startswith(MAY_END):
            what = f"the dialog of {dialog.phone} since {dialog.began_at:.1f} ended: {dialog.end}"
            broken = Broken(name, dialog.presentity, dialog.began_at, dialog.ended_at, what, phone=dialog.phone)
            ledger.broken.append(broken)


def told_again(ledger: Ledger) -> None:
    """After each process that is replaced, a phone is told again as often as that at most."""
    name = "told again within bounds"
    faults = ledger.health.faults
    for number, fault in enumerate(faults):
        until = faults[number + 1].began_at if number + 1 < len(faults) else float("inf")
        most = MOST_TOLD_AGAIN.get(fault.name, 0)
        ledger.promise(name)
        again = Counter((phone, feature) for at, phone, feature in ledger.again if fault.began_at <= at < until)
        for (phone, feature), times in again.items():
            if times > most:
                what = f"{phone} was told of {feature} {times} times more after {fault.kind} {fault.target}"
                ledger.broken.append(Broken(name, "", fault.began_at, min(until, fault.began_at + 60), what))


def read(ledger: Ledger) -> None:
    """What one version has stored or sent, the other reads."""
    name = "reads the other version"
    for at, role, unread in ledger.record.unread:
        ledger.promise(name)
        for series, count in unread.items():
            ledger.broken.append(Broken(name, "", at, at, f"{role} could not read something: {series} {count:.0f}"))
