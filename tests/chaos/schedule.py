"""The rows, and the schedule of faults of a seed: pure, the same seed gives the same schedule."""

import random
from dataclasses import dataclass

from deployment import Shape
from record import is_of_nats

WARM_SECONDS = 4.0
LOSES = ("lose", "deafen", "mute")  # what is sent is lost, and nobody is told
ONE, THREE = Shape(), Shape(nats=3)
PROXIES, ALL = Shape(has_proxies=True), Shape(nats=3, has_proxies=True)
CLOCKS, WIRES = Shape(has_clocks=True), Shape(has_wires=True)
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
    by: float = 0.0  # how far a clock is ahead then, in seconds; less than 0: behind

    def __str__(self) -> str:
        by = f" by {self.by:+.0f} s" if self.by else ""
        return f"{self.at:6.1f} s  {self.kind} {self.target}{by} for {self.seconds:.1f} s"


@dataclass(frozen=True)
class Row:
    """A kind of trouble: what is deployed, which faults are drawn, and how many at once."""

    about: str
    shape: Shape = ONE
    faults: tuple[str, ...] = ()
    at_once: int = 1
    replaces: str = ""  # every process by another version and back: "in order", or "in any order"


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
    "clocks": Row(
        "clocks are ahead or behind, jump, and edges fail meanwhile",
        CLOCKS,
        ("ahead any", "behind any", "start-ahead any", "start-behind any", "kill any", "long-pause edge"),
        at_once=2,
    ),
    "network": Row(
        "the network of a role is cut, or one way of it: nobody is told",
        WIRES,
        (*["lose any"] * 2, "lose edge", "deafen any", "mute any", "mute edge"),
    ),
    "mixed": Row("all of it, two at once", ALL, EVERYTHING, at_once=2),
    "upgrade": Row("bridges, workers, edges are replaced by the next version's, and back", THREE, replaces="in order"),
    "upgrade-any": Row("the same in any order", THREE, replaces="in any order"),
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
    **dict.fromkeys(LOSES, (1.5, 14)),
    **dict.fromkeys(("ahead", "behind", "start-ahead", "start-behind"), (4, 20)),
}
CLOCK_SECONDS = (2, 30, 120, 600)


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
    if row.replaces:
        return replacements(row, rng, seconds)
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
            steps.append(Step(round(at, 1), kind, target, lasts, lane, at - over_at, clock_error(kind, rng)))
            # some faults come close upon another, some leave time to see that all is well
            over_at = at + lasts
            at = over_at + rng.choice((rng.uniform(1, 5), rng.uniform(6, 16)))
    return sorted(steps, key=lambda step: step.at)


def clock_error(kind: str, rng: random.Random) -> float:
    """By how much a fault of this kind sets a clock wrong."""
    if not kind.endswith(("ahead", "behind")):
        return 0.0
    return rng.choice(CLOCK_SECONDS) * (1 if kind.endswith("ahead") else -1)


def replacements(row: Row, rng: random.Random, seconds: float) -> list[Step]:
    """Every process is replaced, one after another; later every process is put back, the last one first."""
    of = names(row.shape)
    order = [*of["mi"], *of["worker"], *of["edge"]]
    if row.replaces == "in any order":
        rng.shuffle(order)
    turns = [("upgrade", name) for name in order] + [("downgrade", name) for name in reversed(order)]
    every = (seconds - WARM_SECONDS) / (len(turns) + 1)  # one more: a while with every process new
    steps = []
    for number, (kind, name) in enumerate(turns):
        at = WARM_SECONDS + every * (number + (number >= len(order)))
        # never sooner than a third of that after the last one is up again
        steps.append(Step(round(at, 1), kind, name, round(rng.uniform(0, 1), 1), rest=every / 3 if number else at))
    return steps


def overlaps(steps: list[Step], at: float, lasts: float, whole: str, target: str) -> bool:
    """Whether another lane does something to the same thing at that time."""
    for step in steps:
        is_same = is_of_nats(step.target) if whole == "nats" else step.target == target
        if is_same and step.at < at + lasts + 3 and at < step.at + step.seconds + 3:
            return True
    return False
