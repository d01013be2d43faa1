"""What happened in a run, as plain data: phones, load and faults write it, the ledger reads it afterwards."""

import asyncio
import time
from dataclasses import dataclass, field

FEATURES = ("CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer")
Key = tuple[str, str]  # presentity, feature


def is_of_nats(target: str) -> bool:
    """Whether a fault with this target is done to NATS: a node, several (`n1+n2`), or streams."""
    return target.startswith(("n", "KV_", "DFKS_"))


@dataclass
class Change:
    """One change that was asked for. Its `serial` is its forwardTo, so that a state tells which change made it."""

    serial: int
    key: Key
    way: str  # press, set, mi, durable
    by: str
    asked_at: float
    answered_at: float | None = None
    outcome: str = "unknown"  # ok, error, unknown
    version: int | None = None  # as the reply says
    said: str = ""
    place: int | None = None  # of the first acknowledgement in the stream of commands
    sent_at: list[float] = field(default_factory=list)  # each time with the same Nats-Msg-Id


@dataclass
class Dialog:
    """A dialog of a phone, from its first 200 to its end as the phone knows it."""

    phone: str
    presentity: str
    call_id: str
    asked_at: float
    began_at: float | None = None
    ended_at: float | None = None
    end: str = ""
    remote_tag: str = ""
    highest: int = 0
    is_reliable: bool = False  # over a connection

    def is_live(self, at: float) -> bool:
        return self.began_at is not None and self.began_at <= at and (self.ended_at is None or self.ended_at > at)


@dataclass
class Answered:
    """A final response to a SUBSCRIBE; status 0: none came."""

    at: float
    asked_at: float
    dialog: Dialog
    edge: str
    status: int
    serial: int  # of the press, 0 without one


@dataclass
class Notify:
    """A NOTIFY that reached a phone, retransmissions apart."""

    at: float
    dialog: Dialog
    cseq: int
    highest: int  # CSeq before it in this dialog
    sender: str
    states: dict[str, int]  # feature -> serial
    is_terminated: bool

    @property
    def is_taken(self) -> bool:
        """Whether the phone took it: one that is not above the last is answered 500."""
        return self.cseq > self.highest


@dataclass
class Fault:
    """A fault and how long the product may take after its end."""

    kind: str
    target: str
    began_at: float
    allowance: float
    ended_at: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The kind of fault, whichever process of a role it was done to."""
        what = self.target.rstrip("0123456789") if "+" not in self.target else "several"
        return f"{self.kind} {'nats' if what == 'n' else what}"


@dataclass
class Made:
    """Evidence that the store held this state: an event, a reply, or a get."""

    at: float
    key: Key
    version: int
    serial: int
    source: str


@dataclass
class Got:
    """An answer to `dfks.get`: feature -> (version, serial)."""

    asked_at: float
    at: float
    presentity: str
    states: dict[str, tuple[int, int]]


@dataclass
class Dead:
    """A dead letter of a durable command."""

    serial: int
    reason: str


@dataclass
class Record:
    """Everything of one run. Times are seconds since its beginning."""

    began: float = field(default_factory=time.monotonic)
    began_wall: float = field(default_factory=time.time)
    changes: dict[int, Change] = field(default_factory=dict)
    dialogs: list[Dialog] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    notifies: list[Notify] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    gets: list[Got] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)
    remarks: list[tuple[float, str]] = field(default_factory=list)
    final: dict[Key, tuple[int, int]] = field(default_factory=dict)
    settled_at: float = 0.0
    stray_notifies: int = 0
    # when it was asked, which process, and how often it could not read what others had stored or sent, by series
    unread: list[tuple[float, str, dict[str, float]]] = field(default_factory=list)
    unsubscribed: dict[str, float] = field(default_factory=dict)  # Call-ID -> when
    # when it was asked, and what the edges said: Call-ID -> presentity
    watched: list[tuple[float, dict[str, str]]] = field(default_factory=list)

    def now(self) -> float:
        return time.monotonic() - self.began

    def at_wall(self, wall: float) -> float:
        """The time of the run at a time of day."""
        return wall - self.began_wall

    def remark(self, text: str) -> None:
        self.remarks.append((self.now(), text))

    async def watch_lag(self, tick: float = 0.05) -> None:
        """Measures how late this process runs, so that a slow machine is not taken for a slow product."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(tick)
            late = time.monotonic() - before - tick
            if late > 0.02:
                self.lags.append((self.now(), late))

    def lag(self, since: float, until: float) -> float:
        return sum(late for at, late in self.lags if since <= at <= until)
