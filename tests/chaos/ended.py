"""A scene of its own: what has ended stays ended, though NATS stops, starts and crashes again and again."""

import asyncio
import random
from typing import TYPE_CHECKING

from record import Fault

if TYPE_CHECKING:
    from phone import Phone
    from scenes import Play

PHONES = 12
ROUNDS = 2
# how long the marker of a key at least lives that was removed: what is there after that has no other proof of its end
MARKERS_ARE_OVER = 63
ALLOWANCE = 10


async def what_has_ended(play: "Play") -> None:
    """Phones unsubscribe; NATS stops, starts and crashes with everything else, before and after markers are over."""
    await play.phone("edge1")
    phones = [await phone(play, at) for at in range(PHONES)]
    for one in phones:
        await one.unsubscribe()
    for at in range(ROUNDS):
        if at:
            await asyncio.sleep(MARKERS_ARE_OVER)
        await stop_then_crash(play, at)
        for _ in range(5):
            play.stage.record.watched.append((play.stage.record.now(), await play.stage.bus.watched()))
            await asyncio.sleep(0.5)
    await play.set()
    await asyncio.sleep(2)


async def phone(play: "Play", at: int) -> "Phone":
    """A phone of a presentity of its own that would stay for an hour."""
    one = play.stage.phone(f"sip:ended{at}@127.0.0.1", random.Random(at))
    one.edge, one.follows, one.expires = "edge1", False, 3600
    await one.flow.open()
    await one.subscribe()
    return one


async def stop_then_crash(play: "Play", at: int) -> None:
    """NATS stops and starts as its operator has it, one more phone comes and goes, then all crash at once."""
    deployment, record = play.stage.deployment, play.stage.record
    fault = Fault("stop and crash", "n1", record.now(), ALLOWANCE)
    record.faults.append(fault)
    nodes = [node.process for node in deployment.nats.nodes]
    for node in nodes:  # one after the other, as an upgrade goes
        await node.stop()
        node.start()
        if not await deployment.nats.healthy(60):
            record.remark("NATS is not healthy after a stop")
    await asyncio.sleep(2)
    passer_by = await phone(play, 100 + at)
    await passer_by.unsubscribe()
    roles = list(deployment.roles.values())
    for process in [*roles, *nodes]:
        await process.kill()
    for node in nodes:
        node.start()
    if not await deployment.nats.healthy(60):
        record.remark("NATS is not healthy after a crash")
    for role in roles:
        role.start()
    for role in roles:
        if not await role.ready(60):
            record.remark(f"{role.name} is not ready after a crash")
    fault.ended_at = record.now()
