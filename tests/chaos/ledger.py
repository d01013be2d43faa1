"""The ledger: every promise of a run, and whether it was kept. Pure: it reads the record of a run that is over."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from health import Health
from history import History
from record import Record


@dataclass
class Broken:
    """A promise that was not kept."""

    promise: str
    presentity: str
    since: float  # when it was made
    at: float  # when it was broken
    what: str
    feature: str = ""
    phone: str = ""
    serial: int = 0


@dataclass
class Ledger:
    """Promises by kind, the broken ones, and what else a run tells."""

    record: Record
    made: Counter[str] = field(default_factory=Counter)
    void: Counter[str] = field(
        default_factory=Counter
    )  # the phone was told that its subscription is over, or gave it up
    broken: list[Broken] = field(default_factory=list)
    doubled: int = 0
    doubled_by_fault: Counter[str] = field(default_factory=Counter)  # the one that began last
    again: list[tuple[float, str, str]] = field(default_factory=list)  # when, which phone, which feature
    late_of_former: int = 0
    put_back: int = 0  # older states that an edge put back to the first version has shown for a moment
    recoveries: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    # the worst recovery after each fault
    worst: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.history = History(self.record)
        self.health = Health(self.record)

    def promise(self, name: str, count: int = 1) -> None:
        self.made[name] += count

    def recovered(self, since: float, at: float) -> None:
        """Something that was due since then was done: how long after the end of which fault?"""
        for fault in reversed(self.health.faults):
            if fault.began_at > at:
                continue
            if fault.ended_at is not None and fault.began_at - 5 < since < fault.ended_at < at:
                self.worst[id(fault)] = max(self.worst.get(id(fault), 0.0), at - fault.ended_at)
            return

    def told_again(self, at: float, phone: str, feature: str) -> None:
        """A NOTIFY said nothing new."""
        self.doubled += 1
        self.again.append((at, phone, feature))
        last = next((fault for fault in reversed(self.health.faults) if fault.began_at <= at), None)
        self.doubled_by_fault[last.name if last else ""] += 1

    def close(self) -> None:
        """Sums up the recoveries."""
        for fault in self.health.faults:
            self.recoveries[fault.name].append(self.worst.get(id(fault), 0.0))

    @property
    def total(self) -> int:
        return sum(self.made.values())
