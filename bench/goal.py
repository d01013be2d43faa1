"""What is measured, and what it should come to. Pure."""

from dataclasses import dataclass, field

from statistic import Spread, ratios

YARDSTICK = "yardstick"
ROUND_TRIP = "NATS round trip"
AT_10K = "at 10,000"


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    work: str
    unit: str
    sign: str  # ≤ or ≥, or ± for a ratio that should be 1
    limit: float
    beside: str = ""  # what ours is compared with
    is_ratio: bool = False  # the limit is one of ours to that

    def text(self) -> str:
        if self.sign == "±":
            return f"± {100 * self.limit:.0f} %"
        if self.is_ratio:
            return f"{self.sign} {self.limit:g} x"
        return f"{self.sign} {number(self.limit)} {self.unit}".strip()

    def is_met(self, measured: "Measured") -> bool:
        """Whether the median is as it should be, and nothing failed."""
        spread = Spread.of(ratios(measured.ours, measured.theirs) if self.is_ratio else measured.ours)
        if spread is None or measured.failed:
            return False
        if self.sign == "±":
            return abs(spread.median - 1) <= self.limit
        return spread.median <= self.limit if self.sign == "≤" else spread.median >= self.limit


@dataclass
class Measured:
    """What came out, one value for each repetition."""

    ours: list[float]
    theirs: list[float] = field(default_factory=list)
    failed: int = 0  # calls, requests or phones without what they wait for
    note: str = ""


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


TARGETS = {
    "a-one": Target("a: CPU a call at 4,000/s, one process + nats-server", "µs", "≤", 0.50, YARDSTICK, True),
    "a-three": Target("a: the same, edge, worker and mi as three processes", "µs", "≤", 0.90, YARDSTICK, True),
    "a-within": Target("a: done within 1 ms at 4,000/s", "%", "≥", 80, YARDSTICK),
    "a-highest": Target("a: highest rate held, no failed call, < 1 % sent again", "/s", "≥", 1.5, YARDSTICK, True),
    "b-one": Target("b: CPU a transaction at 100 calls/s", "µs", "≤", 0.60, YARDSTICK, True),
    "set-median": Target("`dfks.set` → NOTIFY, one watcher, median", "ms", "≤", 5, ROUND_TRIP, True),
    "set-p95": Target("`dfks.set` → NOTIFY, one watcher, p95", "ms", "≤", 8, ROUND_TRIP, True),
    "mi-one": Target("MI sets, one after another", "/s", "≥", 2500),
    "mi-64": Target("`dfks.set`, 64 in flight", "/s", "≥", 8000),
    "http-read": Target("`GET /v1/features/…` over one connection, median", "ms", "≤", 1),
    "http-many": Target("the same over 16 connections", "/s", "≥", 5000),
    "watchers": Target("`dfks.set`, 1,000 watchers → last NOTIFY", "ms", "≤", 12),
    "fill": Target("50,000 subscriptions filled at 2,000/s: RSS of dfks + nats-server", "MiB", "≤", 200),
    "memory": Target("memory of the edge role for each idle subscription", "B", "≤", 1024),
    "start": Target("100,000 stored subscriptions: start → `/readyz` 200", "s", "≤", 1.5),
    "million": Target("1,000,000 subscriptions: RSS of the edge role", "MiB", "≤", 1228.8),
    "million-cpu": Target("1,000,000 subscriptions: CPU a call", "µs", "±", 0.20, AT_10K, True),
    "idle": Target("idle with 100,000 subscriptions: dfks + nats-server", "% of a core", "≤", 1),
    "first": Target("from clone to the first NOTIFY with `make run`, nothing built", "s", "≤", 180),
}
