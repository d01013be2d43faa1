"""Promises to phones about states: each is told to all of them, in order; in the end all show what `get` says."""

from collections import defaultdict

from health import NEVER, TOLD_SECONDS
from history import UNKNOWN
from ledger import Broken, Ledger
from record import FEATURES, Dialog, Made, Notify

MOMENT_SECONDS = 10.0  # after an edge was told to stop: until it is there again, as the other version, and has asked


def check(ledger: Ledger) -> None:
    dialogs = defaultdict(list)
    for dialog in ledger.record.dialogs:
        if dialog.began_at is not None:
            dialogs[dialog.presentity].append(dialog)
    for made_of_key in ledger.history.made.values():
        for made in made_of_key:
            for dialog in dialogs[made.key[0]]:
                if dialog.is_live(made.at) and made.at < ledger.record.settled_at:
                    due(ledger, "change told", dialog, made, made.at)
    for of_presentity in dialogs.values():
        for dialog in of_presentity:
            begins(ledger, dialog)
    in_order(ledger)
    in_the_end(ledger)


def begins(ledger: Ledger, dialog: Dialog) -> None:
    """Whoever subscribes is told the state as it is."""
    assert dialog.began_at is not None
    if dialog.began_at > ledger.record.settled_at:
        return
    for feature in FEATURES:
        made = ledger.history.latest((dialog.presentity, feature), dialog.began_at)
        if made:
            due(ledger, "new subscription told", dialog, made, dialog.began_at)


def due(ledger: Ledger, name: str, dialog: Dialog, made: Made, since: float) -> None:
    """The phone shows this state or a later one in time, unless its dialog ends before."""
    ledger.promise(name)
    deadline = ledger.health.deadline(since)
    shown_at = ledger.history.shown_at(dialog.phone, made)
    if shown_at is not None and shown_at <= deadline:
        if shown_at > since:
            ledger.recovered(since, shown_at)
        return
    if dialog.ended_at is not None and dialog.ended_at <= deadline:
        ledger.void[name] += 1
        return
    if deadline == NEVER or deadline > ledger.record.settled_at:
        ledger.void[name] += 1
        return
    when = "never" if shown_at is None else f"{shown_at - deadline:.1f} s too late"
    if shown_at is not None:
        ledger.recovered(since, shown_at)
    which = f"{made.key[1]} {made.serial} (version {made.version}, known by {made.source})"
    what = f"{dialog.phone} was told {when} of {which}, due at {deadline:.1f}; "
    what += f"dialog since {dialog.began_at:.1f}, {dialog.end or 'live'}"
    if dialog.ended_at is not None:
        what += f" at {dialog.ended_at:.1f}"
    broken = Broken(name, dialog.presentity, since, deadline, what, made.key[1], dialog.phone, made.serial)
    ledger.broken.append(broken)


def in_order(ledger: Ledger) -> None:
    """No phone is told an older state after a newer one; and counts NOTIFYs that say nothing new."""
    last: dict[tuple[str, str], tuple[int, int]] = {}  # version, serial
    asked: dict[str, list[float]] = defaultdict(list)
    for answered in ledger.record.answered:
        asked[answered.dialog.call_id].append(answered.asked_at)
    for notify in ledger.record.notifies:
        dialog = notify.dialog
        if not notify.is_taken:
            continue
        is_asked_for = any(notify.at - 6 < at <= notify.at for at in asked[dialog.call_id])
        for feature, serial in notify.states.items():
            ledger.promise("told in order")
            before, before_serial = last.get((dialog.phone, feature), (0, 0))
            version = ledger.history.version((dialog.presentity, feature), serial, before)
            if version < before and is_put_back(ledger, notify, feature, before):
                ledger.void["told in order"] += 1
                ledger.put_back += 1
            elif version < before:
                what = (
                    f"{dialog.phone} was told {feature} {serial} (version {version}) after {before_serial} "
                    f"(version {before}), by {notify.sender}, CSeq {notify.cseq}"
                )
                ledger.broken.append(
                    Broken(
                        "told in order",
                        dialog.presentity,
                        notify.at,
                        notify.at,
                        what,
                        feature,
                        dialog.phone,
                    )
                )
            elif serial == before_serial and serial and not is_asked_for:
                ledger.told_again(notify.at, dialog.phone, feature)
            if version != UNKNOWN:
                last[dialog.phone, feature] = version, serial


def is_put_back(ledger: Ledger, notify: Notify, feature: str, version: int) -> bool:
    """Whether an edge that was put back to the version before shows an older state for a moment.

    The first version did not store what phones have confirmed: a job that waited for another phone, and comes again,
    is told to all of them. What it asks for when it has started puts that right.
    """
    is_back = any(
        fault.kind == "downgrade"
        and fault.target == notify.sender
        and 0 <= notify.at - fault.began_at <= MOMENT_SECONDS
        for fault in ledger.health.faults
    )
    views = ledger.history.views[notify.dialog.phone, feature]
    return is_back and any(
        notify.at < view.at <= notify.at + TOLD_SECONDS
        and ledger.history.is_at_least((notify.dialog.presentity, feature), view.serial, version)
        for view in views
    )


def in_the_end(ledger: Ledger) -> None:
    """Every phone is subscribed and shows what `get` says, or gets 481 to what it asks next."""
    record = ledger.record
    shown: dict[str, dict[str, int]] = defaultdict(dict)
    for notify in record.notifies:
        if notify.is_taken and notify.at <= record.settled_at:
            shown[notify.dialog.phone] |= notify.states
    last: dict[str, Dialog] = {
        dialog.phone: dialog for dialog in record.dialogs if dialog.asked_at <= record.settled_at
    }
    for phone, dialog in last.items():
        if dialog.call_id in record.unsubscribed:
            continue  # it wanted none
        ledger.promise("subscribed in the end")
        began = min(dialog.began_at or dialog.asked_at, record.settled_at)
        if not dialog.is_live(record.settled_at):
            if ledger.health.deadline(dialog.asked_at, 10) < record.settled_at:
                what = f"{phone} has no subscription at the end: {dialog.end or 'no answer yet'}"
                ledger.broken.append(
                    Broken("subscribed in the end", dialog.presentity, began, record.settled_at, what, phone=phone)
                )
            continue
        if ledger.health.deadline(began) > record.settled_at:
            continue  # too young
        for feature in FEATURES:
            ledger.promise("shows in the end what get says")
            version, serial = record.final.get((dialog.presentity, feature), (0, -1))
            if shown[phone].get(feature) != serial:
                says = f"get says {serial} (version {version})" if serial >= 0 else "get says nothing"
                what = f"{phone} shows {feature} {shown[phone].get(feature)}, {says}; dialog since {began:.1f}"
                made = ledger.history.latest((dialog.presentity, feature), record.settled_at)
                since = max(began, made.at if made else began)
                name = "shows in the end what get says"
                ledger.broken.append(
                    Broken(name, dialog.presentity, since, record.settled_at, what, feature, phone, serial)
                )
    for answered in record.answered:
        if answered.asked_at > record.settled_at:
            ledger.promise("answered in the end")
            if answered.status not in (200, 481):
                what = f"{answered.dialog.phone} got {answered.status or 'no answer'} from {answered.edge}"
                ledger.broken.append(
                    Broken("answered in the end", answered.dialog.presentity, answered.asked_at, answered.at, what)
                )
