"""Promises to services: success stays, an error changed nothing, a durable command is done once and in order."""

import re
from collections import defaultdict

from ledger import Broken, Ledger
from record import Change, Key

# an error reply that says so: the change is, or may be, made, and is told all the same
SAYS_TOLD = re.compile(r"\b(is|was) (made|stored)\b|\b(is|are|will be) (told|notified)\b", re.IGNORECASE)


def check(ledger: Ledger) -> None:
    by_key: dict[Key, list[Change]] = defaultdict(list)
    for change in ledger.record.changes.values():
        by_key[change.key].append(change)
    for key, changes in by_key.items():
        for change in changes:
            answered(ledger, change)
            once(ledger, change)
        carried_out(ledger, key, changes)
        in_order(ledger, [change for change in changes if change.place is not None])
    gets(ledger)
    one_state_a_version(ledger)
    processes(ledger)


def answered(ledger: Ledger, change: Change) -> None:
    """What a reply says is so."""
    is_made = (change.key, change.serial) in ledger.history.versions
    if change.outcome == "error":
        ledger.promise("error changed nothing")
        if is_made and not SAYS_TOLD.search(change.said):
            versions = sorted(ledger.history.versions[change.key, change.serial])
            what = f"{described(change)} was refused ({change.said}), and is version {versions}"
            breach(ledger, "error changed nothing", change, min(made_at(ledger, change)), what)
    elif change.version is not None:
        ledger.promise("success stays")
        last, _ = ledger.record.final.get(change.key, (change.version, 0))
        if last < change.version:
            what = f"{described(change)} was answered with version {change.version}, at the end get says version {last}"
            breach(ledger, "success stays", change, ledger.record.settled_at, what)


def once(ledger: Ledger, change: Change) -> None:
    ledger.promise("made at most once")
    versions = sorted(ledger.history.versions.get((change.key, change.serial), ()))
    if len(versions) > 1:
        what = f"{described(change)}, sent {len(change.sent_at) or 1} times, was made as versions {versions}"
        breach(ledger, "made at most once", change, max(made_at(ledger, change)), what)


def carried_out(ledger: Ledger, key: Key, changes: list[Change]) -> None:
    """Acknowledged durable commands are done or dead letters, and what MI answered with OK is done."""
    dead = {letter.serial for letter in ledger.record.dead}
    owed = [change for change in changes if change.outcome == "ok" and change.way in ("durable", "mi")]
    ledger.promise("acknowledged is carried out", len(owed))
    missing = [it for it in owed if (key, it.serial) not in ledger.history.versions and it.serial not in dead]
    # a version that nobody told of may be what is missing
    if len(missing) > ledger.history.gaps(key):
        for change in missing:
            what = f"{described(change)} ({change.said}) was not carried out"
            breach(ledger, "acknowledged is carried out", change, ledger.record.settled_at, what)


def in_order(ledger: Ledger, durable: list[Change]) -> None:
    """Durable commands of a presentity are done in the order of the stream."""
    highest, before = 0, None
    for change in sorted(durable, key=lambda change: change.place or 0):
        versions = ledger.history.versions.get((change.key, change.serial))
        if not versions:
            continue
        ledger.promise("durable in order")
        if before and min(versions) < highest:
            what = f"{described(change)} (place {change.place}, version {min(versions)}) was done before "
            what += f"{before.serial} (place {before.place}, version {highest})"
            breach(ledger, "durable in order", change, min(made_at(ledger, change)), what)
        highest, before = max(highest, min(versions)), change


def gets(ledger: Ledger) -> None:
    """A get never tells an older state than what was known before it was asked."""
    for got in ledger.record.gets:
        for feature, (version, serial) in got.states.items():
            ledger.promise("get is not older")
            known = ledger.history.latest((got.presentity, feature), got.asked_at - 0.1)
            if known and known.version > version:
                what = (
                    f"get asked at {got.asked_at:.2f} says {feature} {serial} (version {version}), "
                    f"though version {known.version} ({known.serial}) was known since {known.at:.2f} by {known.source}"
                )
                broken = Broken("get is not older", got.presentity, got.asked_at, got.at, what, feature, serial=serial)
                ledger.broken.append(broken)


def one_state_a_version(ledger: Ledger) -> None:
    for key, versions in ledger.history.serials.items():
        for version, serials in versions.items():
            ledger.promise("one state a version")
            if len(serials) > 1:
                what = f"version {version} of {key[1]} was {' and '.join(map(str, sorted(serials)))}"
                at = max(made.at for made in ledger.record.made if made.key == key and made.version == version)
                ledger.broken.append(Broken("one state a version", key[0], at, at, what, key[1]))


def processes(ledger: Ledger) -> None:
    """Whoever is started gets ready, and whoever is told to stop ends."""
    for fault in ledger.record.faults:
        ledger.promise("ready again")
        if fault.note:
            at = fault.ended_at or ledger.record.settled_at
            what = f"{fault.kind} {fault.target}: {fault.note}"
            ledger.broken.append(Broken("ready again", "", fault.began_at, at, what))


def described(change: Change) -> str:
    return f"{change.way} of {change.key[1]} {change.serial} by {change.by}"


def made_at(ledger: Ledger, change: Change) -> list[float]:
    """When it is known to have been made, each version once."""
    made = [it.at for it in ledger.history.made[change.key] if it.serial == change.serial]
    return made or [change.asked_at]


def breach(ledger: Ledger, name: str, change: Change, at: float, what: str) -> None:
    ledger.broken.append(Broken(name, change.key[0], change.asked_at, at, what, change.key[1], serial=change.serial))
