"""The story of a broken promise: what happened to its feature and its phone around that time, in order."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import Broken, Ledger
from record import Key, Record

BEFORE, AFTER, MOST = 5.0, 3.0, 36
Event = tuple[float, str]


def story(ledger: Ledger, broken: Broken) -> list[str]:
    """Lines of text, the middle of a long story left out."""
    lines = [
        f"{broken.promise}: {broken.what}",
        f"  {broken.presentity}, since {broken.since:.1f}, broken at {broken.at:.1f}",
    ]
    events = sorted(Teller(ledger.record, broken).events())
    told = [f"    {at:8.2f}  {text}" for at, text in events]
    if len(told) > MOST:
        told = [*told[: MOST // 2], f"              … {len(told) - MOST} more …", *told[-MOST // 2 :]]
    return lines + told


@dataclass
class Teller:
    """Picks what has to do with the promise."""

    record: Record
    broken: Broken

    def events(self) -> list[Event]:
        since, until = self.broken.since - BEFORE, self.broken.at + AFTER
        if self.broken.promise == "made at most once":
            change = self.record.changes[self.broken.serial]
            since = change.asked_at - BEFORE
        parts = (self.changes(), self.made(), self.notifies(), self.answered(), self.dialogs())
        return [event for part in parts for event in part if since <= event[0] <= until] + self.faults(since, until)

    def is_of(self, feature: str) -> bool:
        return self.broken.feature in ("", feature)

    def is_to(self, phone: str) -> bool:
        return self.broken.phone in ("", phone)

    def changes(self) -> Iterator[Event]:
        if self.broken.phone and not self.broken.feature:
            return  # it is about a dialog, not about a state
        for change in self.record.changes.values():
            if change.key[0] != self.broken.presentity or not self.is_of(change.key[1]):
                continue
            what = f"{change.way} {change.key[1]} {change.serial} by {change.by}"
            yield change.asked_at, f"{what} asked"
            for at in change.sent_at[1:]:
                yield at, f"{what} sent again with the same Nats-Msg-Id"
            if change.answered_at is not None:
                yield change.answered_at, f"{what}: {change.outcome}, {change.said}"

    def made(self) -> Iterator[Event]:
        if self.broken.phone and not self.broken.feature:
            return
        last: dict[Key, int] = {}  # of each feature: the same is said many times by gets
        for made in self.record.made:
            if made.source == "get" and last.get(made.key) == made.version:
                continue
            last[made.key] = made.version
            if made.key[0] == self.broken.presentity and self.is_of(made.key[1]) and made.version:
                yield made.at, f"{made.key[1]} version {made.version} is {made.serial}, says {made.source}"

    def notifies(self) -> Iterator[Event]:
        for notify in self.record.notifies:
            dialog = notify.dialog
            if dialog.presentity != self.broken.presentity or not self.is_to(dialog.phone):
                continue
            if not self.broken.phone and not any(self.is_of(feature) for feature in notify.states):
                continue
            told = " ".join(f"{feature}={serial}" for feature, serial in notify.states.items() if self.is_of(feature))
            refused = "" if notify.is_taken else f", refused, its last was {notify.highest}"
            end = " terminated" if notify.is_terminated else ""
            yield notify.at, f"NOTIFY {notify.sender} → {dialog.phone} CSeq {notify.cseq}: {told or '-'}{end}{refused}"

    def answered(self) -> Iterator[Event]:
        for answered in self.record.answered:
            dialog = answered.dialog
            if dialog.presentity == self.broken.presentity and self.broken.phone == dialog.phone:
                what = f"SUBSCRIBE {dialog.phone} → {answered.edge}"
                yield answered.asked_at, what + (f" with a press, {answered.serial}" if answered.serial else "")
                yield answered.at, f"{what}: {answered.status or 'no answer'}"

    def dialogs(self) -> Iterator[Event]:
        for dialog in self.record.dialogs:
            if dialog.presentity == self.broken.presentity and dialog.ended_at is not None and self.is_to(dialog.phone):
                yield dialog.ended_at, f"{dialog.phone}: dialog ends, {dialog.end}"

    def faults(self, since: float, until: float) -> list[Event]:
        """Beginnings and ends; what began earlier and goes on, or was over not long ago, is put at the beginning."""
        events = []
        for fault in self.record.faults:
            name = f"*** {fault.kind} {fault.target}"
            ended_at = fault.ended_at if fault.ended_at is not None else until
            if ended_at < since - 10 or fault.began_at > until:
                continue
            if ended_at < since:
                events.append((since, f"{name} from {fault.began_at:.1f} to {ended_at:.1f}"))
                continue
            events.append((max(fault.began_at, since), f"{name} begins, at {fault.began_at:.1f}"))
            events.append((min(ended_at, until), f"{name} is over, at {ended_at:.1f}"))
        return events
