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
    late_of_former: int = 0
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

    def close(self) -> None:
        """Sums up the recoveries."""
        for fault in self.health.faults:
            what = fault.target.rstrip("0123456789") if "+" not in fault.target else "several"
            name = f"{fault.kind} {'nats' if what == 'n' else what}"
            self.recoveries[name].append(self.worst.get(id(fault), 0.0))

    @property
    def total(self) -> int:
        return sum(self.made.values())
