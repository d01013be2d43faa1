"""One run of a row: a deployment, phones, load and the faults of a seed; what happened is the record."""

import asyncio
import math
import random
from dataclasses import dataclass

from load import Load, presentities
from record import Record
from schedule import ROWS, schedule
from settle import settle
from stage import Programs, Stage

TCP_SHARE = 5  # one phone in five


@dataclass(frozen=True)
class Plan:
    """What is run for how long; one phone in five is on TCP, and the phones of a presentity are on any edge."""

    row: str
    seed: int
    seconds: float
    phones: int
    presentities: int
    pause: float  # seconds between two actions of the load


async def run(plan: Plan, programs: Programs) -> Record:
    """Everything of a run, from the first process to the end of the last."""
    row, rng = ROWS[plan.row], random.Random(f"load {plan.seed}")
    async with Stage(f"{plan.row}-{plan.seed}", row.shape, programs) as stage:
        names = presentities(plan.presentities)
        for at in range(plan.phones):
            is_tcp = at % TCP_SHARE == at // len(names) % TCP_SHARE
            stage.begin(stage.phone(names[at % len(names)], rng, is_tcp).live())
        await stage.all_subscribed()
        record = stage.record
        began_at = record.now()
        bridges = [bridge.mi for bridge in stage.deployment.of("mi")]
        load = Load(stage.phones, stage.bus, bridges, rng, record, plan.pause)
        loading = stage.begin(load.run())
        # no process is left in the other version, however long it takes
        until = math.inf if row.replaces else plan.seconds
        faults = stage.faults.run(schedule(row, plan.seed, plan.seconds), began_at, until)
        await asyncio.gather(faults, asyncio.sleep(plan.seconds))
        await asyncio.sleep(2)
        loading.cancel()
        await load.finished(70)
        await settle(stage)
        if row.replaces:
            for role in stage.deployment.roles.values():
                record.unread.append((record.now(), role.name, await role.unread()))
    return record
