"""The rows, and the schedule of faults of a seed: pure, the same seed gives the same schedule."""

import random
from dataclasses import dataclass

from deployment import Shape
from record import is_of_nats

WARM_SECONDS = 4.0
ONE, THREE = Shape(), Shape(nats=3)
PROXIES, ALL = Shape(has_proxies=True), Shape(nats=3, has_proxies=True)
STREAMS = ("KV_dfks-features", "KV_dfks-subscriptions", "DFKS_NOTIFY", "DFKS_COMMANDS")

EVERYTHING = (
    *("kill any", "term any", "pause any", "long-pause edge", "hold any", "cut any", "shut any"),
    *("kill nats", "term nats", "kill two-nats", "isolate nats", "full stream", "refuse bucket"),
)


@dataclass(frozen=True)
class Step:
    """A fault that begins `at` seconds after the load did, is done to `target`, and lasts for `seconds`."""

    at: float
    kind: str
    target: str
    seconds: float
    lane: int = 0  # in a lane there is one after the other, however long a recovery takes
    rest: float = 0.0  # between the end of the last one and this

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind} {self.target} for {self.seconds:.1f} s"


@dataclass(frozen=True)
class Row:
    """A kind of trouble: what is deployed, which faults are drawn, and how many at once."""

    about: str
    shape: Shape = ONE
    faults: tuple[str, ...] = ()
    at_once: int = 1


ROWS = {
    "calm": Row("nothing happens"),
    "workers": Row("workers are killed, stopped, paused", ONE, ("kill worker", "term worker", *["pause worker"] * 2)),
    "bridges": Row("bridges are killed, stopped, paused", ONE, ("kill mi", "term mi", *["pause mi"] * 2)),
    "edges": Row("edges are paused, mostly beyond the take-over", ONE, (*["long-pause edge"] * 2, "pause edge")),
    "edges-kill": Row("edges are killed, some for good", ONE, ("kill edge", "term edge", "long-kill edge")),
    "nats1": Row("the only NATS server is restarted", ONE, ("kill nats", "term nats")),
    "nats3-one": Row("one NATS node of three is down", THREE, ("kill nats", "term nats", "pause nats")),
    "nats3-two": Row("two NATS nodes of three are down", THREE, ("kill two-nats", "term two-nats")),
    "full": Row("streams and buckets are full", ONE, (*["full stream"] * 2, "full all-streams", "refuse bucket")),
    "partition": Row("one NATS node is cut off from its peers", THREE, ("isolate nats",)),
    "connections": Row("connections are held, reset, refused", PROXIES, (*["hold any"] * 2, "cut any", "shut any")),
    "mixed": Row("all of it, two at once", ALL, EVERYTHING, at_once=2),
}
SECONDS: dict[str, tuple[float, float]] = {
    "kill": (0.2, 6),
    "term": (0.2, 6),
    "pause": (2, 15),
    "long-pause": (6.5, 22),
    "long-kill": (6, 13),
    "full": (3, 10),
    "refuse": (2, 8),
    "isolate": (4, 14),
    "hold": (1.5, 12),
    "cut": (0, 0),
    "shut": (1, 8),
}


def names(shape: Shape) -> dict[str, list[str]]:
    """What a word in the second half of a fault may stand for."""
    roles = {
        "edge": [f"edge{at + 1}" for at in range(shape.edges)],
        "worker": [f"worker{at + 1}" for at in range(shape.workers)],
        "mi": [f"mi{at + 1}" for at in range(shape.bridges)],
    }
    nodes = [f"n{at + 1}" for at in range(shape.nats)]
    return roles | {
        "any": [name for kind in roles.values() for name in kind],
        "nats": nodes,
        "two-nats": [f"{one}+{other}" for one in nodes for other in nodes if one < other],
        "stream": list(STREAMS),
        "bucket": [stream for stream in STREAMS if stream.startswith("KV_")],
        "all-streams": ["+".join(STREAMS)],
    }


def schedule(row: Row, seed: int, seconds: float) -> list[Step]:
    """The faults of a run whose load lasts for so long; the last one is over before the load ends."""
    rng = random.Random(f"schedule {seed}")
    steps: list[Step] = []
    busy = {"": 0.0}  # target, or "nats" for all nodes -> until when
    for lane in range(row.at_once if row.faults else 0):
        over_at, at = 0.0, WARM_SECONDS + rng.uniform(0, 4)
        while at < seconds:
            kind, what = rng.choice(row.faults).split()
            targets = names(row.shape)[what]
            target, lasts = rng.choice(targets), round(rng.uniform(*SECONDS[kind]), 1)
            if kind == "cut":
                lasts = 0.0
            if at + lasts > seconds - 2:
                lasts = max(seconds - 2 - at, 0.3)
            whole = "nats" if is_of_nats(target) else target
            if busy.get(whole, 0) > at or (row.at_once > 1 and overlaps(steps, at, lasts, whole, target)):
                at += 1
                continue
            busy[whole] = at + lasts + 3
            steps.append(Step(round(at, 1), kind, target, lasts, lane, at - over_at))
            # some faults come close upon another, some leave time to see that all is well
            over_at = at + lasts
            at = over_at + rng.choice((rng.uniform(1, 5), rng.uniform(6, 16)))
    return sorted(steps, key=lambda step: step.at)


def overlaps(steps: list[Step], at: float, lasts: float, whole: str, target: str) -> bool:
    """Whether another lane does something to the same thing at that time."""
    for step in steps:
        is_same = is_of_nats(step.target) if whole == "nats" else step.target == target
        if is_same and step.at < at + lasts + 3 and at < step.at + step.seconds + 3:
            return True
    return False
