"""Promises within a dialog: a NOTIFY follows each 200, CSeq grows, and one edge at a time sends."""

from collections import defaultdict
from dataclasses import dataclass, field

from deployment import TAKEOVER_SECONDS
from health import NEVER
from ledger import Broken, Ledger
from record import Answered, Dialog, Notify
from schedule import LOSES

IN_FLIGHT_SECONDS = 1.0  # how long what the former owner has sent may be on its way
# an edge sends until its lease ends, a heartbeat before another may take over; one that sends after that is found, too
BEAT_SECONDS = TAKEOVER_SECONDS / 10


def check(ledger: Ledger) -> None:
    notifies: dict[str, list[Notify]] = defaultdict(list)
    for notify in ledger.record.notifies:
        notifies[notify.dialog.call_id].append(notify)
    answers: dict[str, list[Answered]] = defaultdict(list)
    for answered in ledger.record.answered:
        answers[answered.dialog.call_id].append(answered)
        if answered.status == 200:
            followed(ledger, answered, notifies[answered.dialog.call_id])
    for dialog in ledger.record.dialogs:
        if dialog.began_at is not None:
            Senders(ledger, dialog).check(notifies[dialog.call_id], answers[dialog.call_id])


def followed(ledger: Ledger, answered: Answered, notifies: list[Notify]) -> None:
    """A 200 is followed by a NOTIFY, after a press one that tells the pressed feature."""
    name = "press confirmed" if answered.serial else "200 followed by a NOTIFY"
    change = ledger.record.changes.get(answered.serial)
    ledger.promise(name)
    deadline = ledger.health.deadline(answered.at)
    for notify in notifies:
        tells = change is None or change.key[1] in notify.states or notify.is_terminated
        if notify.is_taken and notify.at >= answered.asked_at and tells:
            if notify.at <= deadline:
                return
            break
    ended_at = answered.dialog.ended_at
    if (ended_at is not None and ended_at <= deadline) or deadline == NEVER or deadline > ledger.record.settled_at:
        ledger.void[name] += 1
        return
    what = f"{answered.dialog.phone} got 200 from {answered.edge}"
    if change:
        what += f" for {change.key[1]} {change.serial}"
    what += f" and no NOTIFY of it until {deadline:.1f}; asked at {answered.asked_at:.1f}"
    feature = change.key[1] if change else ""
    broken = Broken(name, answered.dialog.presentity, answered.asked_at, deadline, what, feature, answered.dialog.phone)
    ledger.broken.append(broken)


@dataclass
class Senders:
    """Who may send in a dialog: the edge that the phone spoke with last, or the one that took over from it."""

    ledger: Ledger
    dialog: Dialog
    owner: str = ""
    moved_at: float = 0.0
    is_by_phone: bool = True
    last_from: dict[str, float] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)

    def check(self, notifies: list[Notify], answers: list[Answered]) -> None:
        events: list[tuple[float, int, Notify | Answered]] = [(answered.at, 0, answered) for answered in answers]
        events += [(notify.at, 1, notify) for notify in notifies]
        for at, _, event in sorted(events, key=lambda event: event[:2]):
            if isinstance(event, Answered):
                if event.status == 200:
                    self.owned_by(event.edge, at, is_by_phone=True)
                continue
            self.ledger.promise("one sender")
            self.ledger.promise("CSeq grows")
            is_asked = any(it.edge == event.sender and it.asked_at <= at <= it.at for it in answers)
            if event.sender != self.owner and is_asked:
                self.owned_by(event.sender, at, is_by_phone=True)
            if event.sender != self.owner:
                self.went_unanswered(event, answers)
            is_late = event.sender != self.owner and not self.may_take(event)
            self.last_from[event.sender] = at
            if not event.is_taken and not is_late:
                self.broken_cseq(event)

    def owned_by(self, edge: str, at: float, is_by_phone: bool) -> None:
        if edge != self.owner:
            self.owner, self.moved_at, self.is_by_phone = edge, at, is_by_phone
            self.owners.add(edge)

    def went_unanswered(self, notify: Notify, answers: list[Answered]) -> None:
        """The phone's SUBSCRIBE made an edge the owner that fell silent before its 200 left."""
        owner_sent_at = self.last_from.get(self.owner, 0)
        for it in answers:
            was_there = it.asked_at <= notify.at and it.asked_at + IN_FLIGHT_SECONDS >= owner_sent_at
            if it.status != 200 and was_there and not self.ledger.health.is_well(it.asked_at, notify.at, it.edge):
                self.owned_by(it.edge, it.asked_at, is_by_phone=True)

    def may_take(self, notify: Notify) -> bool:
        """Whether this edge, which is not the owner, is the next owner. If not, that is judged here."""
        health, at, sender = self.ledger.health, notify.at, notify.sender
        if sender in self.owners and self.is_by_phone:
            is_on_its_way = at <= self.moved_at + IN_FLIGHT_SECONDS + self.ledger.record.lag(self.moved_at, at)
            is_hurt = not health.is_well(self.moved_at - 1, at, sender)
            if is_on_its_way or (is_hurt and at <= self.moved_at + TAKEOVER_SECONDS) or self.is_resent(notify):
                self.ledger.late_of_former += 1
                return False
        owner_sent_at = self.last_from.get(self.owner, self.moved_at)
        is_lost = not health.is_well(at - 4 * TAKEOVER_SECONDS, at, self.owner)
        if is_lost and at - owner_sent_at >= BEAT_SECONDS and notify.is_taken:
            self.owned_by(sender, at, is_by_phone=False)
            return True
        how = "the phone went there" if self.is_by_phone else "it took over"
        what = (
            f"{sender} sent CSeq {notify.cseq} to {self.dialog.phone}, though {self.owner} is the owner since "
            f"{self.moved_at:.1f} ({how}) and sent last at {owner_sent_at:.1f}"
        )
        self.broken("one sender", self.moved_at, at, what)
        if notify.is_taken:  # whoever is right, each change of hands counts once
            self.owned_by(sender, at, is_by_phone=False)
        return False

    def is_resent(self, notify: Notify) -> bool:
        """Whether TCP may have carried it since before the phone moved.

        What was lost it sends again, each time after twice as long: up to as long after a cut as that lasted.
        """
        if notify.is_taken or not self.dialog.is_reliable:
            return False
        for fault in self.ledger.health.faults:
            if fault.kind in LOSES and fault.target == notify.sender and fault.ended_at is not None:
                until = fault.ended_at + (fault.ended_at - fault.began_at) + IN_FLIGHT_SECONDS
                if fault.began_at <= self.moved_at <= fault.ended_at and notify.at <= until:
                    return True
        return False

    def broken_cseq(self, notify: Notify) -> None:
        how = "was used before" if notify.cseq == notify.highest else f"came after {notify.highest}"
        what = f"CSeq {notify.cseq} of {notify.sender} to {self.dialog.phone} {how}"
        self.broken("CSeq grows", notify.at, notify.at, what)

    def broken(self, name: str, since: float, at: float, what: str) -> None:
        dialog = self.dialog
        self.ledger.broken.append(Broken(name, dialog.presentity, since, at, what, phone=dialog.phone))
