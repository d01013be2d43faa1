"""Scenes: faults that the ledger found, cut down to the few steps that bring them about. The ledger judges them, too.

Each is a function that plays on a stage; `SCENES` names them, with the deployment that they need.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deployment import TAKEOVER_SECONDS, Shape
from ended import what_has_ended
from ledger import Ledger
from natsbus import Bus
from phone import Phone
from record import Change
from report import judge
from schedule import Step
from settle import settle
from stage import Programs, Stage

ALICE, FEATURE = "sip:alice@127.0.0.1", "CallForwardingAlways"
OTHER_FEATURE = "CallForwardingBusy"


class Play:
    """What a scene does on its stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.serials = stage, itertools.count(1)

    async def phone(self, edge: str, is_tcp: bool = False) -> Phone:
        """A phone that subscribes at this edge, and stays with it."""
        phone = self.stage.phone(ALICE, random.Random(edge), is_tcp)
        phone.edge, phone.follows, phone.expires = edge, False, 600
        await phone.flow.open()
        await phone.subscribe()
        await asyncio.sleep(1)
        return phone

    def change(self, way: str, feature: str = FEATURE) -> Change:
        return Change(next(self.serials), (ALICE, feature), way, "a scene", self.stage.record.now())

    async def set(self, bus: Bus | None = None) -> Change:
        change = self.change("set")
        await (bus or self.stage.bus).set(change)
        return change

    async def command(self) -> Change:
        change = self.change("durable")
        await self.stage.bus.command(change)
        return change

    async def press(self, phone: Phone, edge: str, feature: str = FEATURE) -> Change:
        change = self.change("press", feature)
        await phone.press(change, edge)
        return change

    def fault(self, kind: str, target: str, seconds: float, by: float = 0.0) -> asyncio.Task[None]:
        """Begins a fault; the task ends with it."""
        return self.stage.begin(self.stage.faults.carry_out(Step(0, kind, target, seconds, by=by)))

    async def lead(self, stream: str) -> None:
        """Makes the first NATS node the leader of a stream."""
        api = self.stage.bus.api
        for _ in range(50):
            if (await api(f"STREAM.INFO.{stream}"))["cluster"].get("leader") == "n1":
                await asyncio.sleep(2)
                return
            await api(f"STREAM.LEADER.STEPDOWN.{stream}", {"placement": {"preferred": "n1"}})
            await asyncio.sleep(0.5)


async def late_subscription(play: Play) -> None:
    """A phone of edge 2 presses at edge 1 while NATS has lost its quorum a moment ago: its store commits late."""
    phone = await play.phone("edge2")
    await play.lead("KV_dfks-subscriptions")
    down = play.fault("kill", "n2+n3", 3)
    await asyncio.sleep(0.3)
    await play.press(phone, "edge1")
    await down
    await asyncio.sleep(3)
    await play.set()


async def worker_stood_still(play: Play) -> None:
    """A worker is paused under commands, and goes on with what was given up meanwhile."""
    await play.phone("edge1")
    pause = play.fault("pause", "worker1", 8)
    await asyncio.sleep(0.2)
    for _ in range(6):
        await play.set()
    await pause
    await asyncio.sleep(1)


async def bridge_stood_still(play: Play) -> None:
    """The bridge that takes the durable commands is paused with deliveries in its socket; another takes over."""
    await play.phone("edge1")
    await play.command()
    for bridge in ("mi1", "mi2"):  # the one that takes them is among them
        pause = play.fault("pause", bridge, 25)
        await asyncio.sleep(0.2)
        for _ in range(4):
            await play.command()
        await pause
        await asyncio.sleep(2)


async def telling_fails(play: Play) -> None:
    """A change is stored, and the job that tells of it finds its stream full."""
    await play.phone("edge1")
    full = play.fault("full", "DFKS_NOTIFY", 3)
    await asyncio.sleep(0.5)
    await play.set()
    await full
    await asyncio.sleep(8)


async def late_store(play: Play) -> None:
    """The store's answer is lost with the quorum, and the change stands in the store all the same."""
    await play.phone("edge1")
    await play.lead("KV_dfks-features")
    down = play.fault("kill", "n2+n3", 3)
    await asyncio.sleep(0.3)
    await play.set()
    await down
    await asyncio.sleep(8)


async def tcp_at_silent_edge(play: Play) -> None:
    """Phones over TCP at an edge that is paused for longer than the take-over, with changes after that."""
    for _ in range(4):
        await play.phone("edge1", is_tcp=True)
    await play.phone("edge2")
    pause = play.fault("pause", "edge1", 3 * TAKEOVER_SECONDS)
    await asyncio.sleep(TAKEOVER_SECONDS + 2)
    for _ in range(12):
        await play.set()
        await asyncio.sleep(0.5)
    await pause
    await asyncio.sleep(12)


async def older_after_newer(play: Play) -> None:
    """An edge is back after its phone was taken over and told; the phone presses there, where old jobs wait."""
    phone = await play.phone("edge1")
    await play.phone("edge2")
    await play.set()
    pause = play.fault("pause", "edge1", 2 * TAKEOVER_SECONDS + 2)
    await asyncio.sleep(0.3)
    await play.set()
    await asyncio.sleep(2 * TAKEOVER_SECONDS - 2)
    await play.set()
    await asyncio.sleep(1)
    pressing = play.stage.begin(play.press(phone, "edge1", OTHER_FEATURE))
    await pause
    await pressing
    await asyncio.sleep(5)


async def job_lost_with_connection(play: Play) -> None:
    """A job is on its way to an edge over a connection that is held, and then reset."""
    await play.phone("edge1")
    await asyncio.sleep(2 * TAKEOVER_SECONDS)
    hold = play.fault("hold", "edge1", 0.5)
    await asyncio.sleep(0.2)
    await play.set()
    await asyncio.sleep(0.1)
    for proxy in play.stage.deployment.roles["edge1"].proxies:
        proxy.cut()
    await hold
    await asyncio.sleep(1)


async def job_held_with_silent_edge(play: Play) -> None:
    """A job is on its way to an edge whose connection is held until another edge has taken over."""
    await play.phone("edge1")
    await asyncio.sleep(2 * TAKEOVER_SECONDS)
    hold = play.fault("hold", "edge1", TAKEOVER_SECONDS + 3)
    await asyncio.sleep(TAKEOVER_SECONDS - 1)
    await play.set()
    await hold
    await asyncio.sleep(1)


async def same_id_after_restart(play: Play) -> None:
    """A durable command, a newer change, NATS restarts, and the same `Nats-Msg-Id` again."""
    await play.phone("edge1")
    command = await play.command()
    await asyncio.sleep(1)
    await play.set()
    await play.fault("term", "n1", 0.5)
    await asyncio.sleep(3)
    await play.stage.bus.publish(command)
    await asyncio.sleep(2)


async def cseq_twice(play: Play) -> None:
    """An edge crashes twice, and could store nothing in between."""
    await play.phone("edge1")
    await play.set()
    await play.fault("kill", "edge1", 0.2)
    full = play.fault("refuse", "KV_dfks-subscriptions", 6)
    await asyncio.sleep(0.5)
    await play.set()
    await asyncio.sleep(1)
    await play.fault("kill", "edge1", 0.2)
    await play.set()
    await full
    await asyncio.sleep(3)
    await play.set()
    await asyncio.sleep(1)


async def two_senders(play: Play) -> None:
    """The NATS node of edge 1 is cut off from its peers: another edge takes over, and edge 1 goes on all the same."""
    await play.phone("edge1")
    await play.set()
    for stream in ("KV_dfks-features", "KV_dfks-subscriptions", "DFKS_NOTIFY"):
        await play.lead(stream)
    cut = play.fault("isolate", "n3", TAKEOVER_SECONDS + 1)
    while not cut.done():
        await asyncio.sleep(0.5)
        await play.set()
    for _ in range(6):
        await asyncio.sleep(0.5)
        await play.set()


async def old_get(play: Play) -> None:
    """A worker at a NATS node that is cut off from its peers answers a get."""
    await play.phone("edge1")
    there = Bus(play.stage.record)
    await there.connect([play.stage.deployment.nats.urls()[2]])
    await play.set()
    cut = play.fault("isolate", "n3", 6)
    await asyncio.sleep(0.3)
    for _ in range(10):
        await play.set()
        await asyncio.sleep(0.5)
        await there.get(ALICE)
    await cut
    await there.close()


async def clock_ahead(play: Play) -> None:
    """The clocks of another edge and of the bridge jump by an hour; phones that subscribe then have not expired."""
    await play.phone("edge1")
    jumps = [play.fault("ahead", name, 12, by=3600) for name in ("edge2", "mi1")]
    await asyncio.sleep(1)
    await play.phone("edge1")  # to whoever believes in that clock it has expired, and is removed
    await asyncio.sleep(2)
    for _ in range(4):
        await play.set()
        await play.command()
        await asyncio.sleep(1)
    for jump in jumps:
        await jump
    await play.set()
    await asyncio.sleep(2)


@dataclass(frozen=True)
class Scene:
    """What is played, and on which deployment."""

    play: Callable[[Play], Awaitable[None]]
    shape: Shape


ONE = Shape(edges=2, workers=1, bridges=1)
HELD = Shape(edges=2, workers=1, bridges=1, has_proxies=True)
AT_N1 = Shape(
    nats=3, edges=2, workers=1, bridges=1, tied=tuple((name, 0) for name in ("edge1", "edge2", "worker1", "mi1"))
)
APART = Shape(
    nats=3,
    edges=2,
    bridges=1,
    tied=(("edge1", 2), ("worker2", 2), ("edge2", 0), ("worker1", 0), ("mi1", 0)),
)
SCENES = {
    scene.play.__name__.replace("_", "-"): scene
    for scene in (
        Scene(late_subscription, AT_N1),
        Scene(worker_stood_still, Shape(edges=1, workers=2, bridges=1)),
        Scene(bridge_stood_still, Shape(edges=1, workers=1, bridges=2)),
        Scene(telling_fails, ONE),
        Scene(late_store, AT_N1),
        Scene(tcp_at_silent_edge, ONE),
        Scene(older_after_newer, ONE),
        Scene(job_lost_with_connection, HELD),
        Scene(job_held_with_silent_edge, HELD),
        Scene(same_id_after_restart, ONE),
        Scene(cseq_twice, Shape(edges=1, workers=1, bridges=1)),
        Scene(two_senders, APART),
        Scene(old_get, APART),
        Scene(clock_ahead, Shape(edges=2, workers=1, bridges=1, has_clocks=True)),
        Scene(what_has_ended, Shape(nats=3, edges=2, workers=1, bridges=1)),
    )
}


async def play(name: str, programs: Programs) -> Ledger:
    """Plays a scene, and judges it as a run is judged."""
    scene = SCENES[name]
    async with Stage(name, scene.shape, programs) as stage:
        await scene.play(Play(stage))
        await settle(stage)
    return judge(stage.record)
