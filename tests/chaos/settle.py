"""The end of a run: waits until all is carried out and told, as long as that may take, and asks what `get` says."""

import asyncio

from health import Health
from natsbus import Bus
from phone import Phone
from record import FEATURES, Record
from stage import Stage

DURABLE_SECONDS = 45.0  # until which every acknowledged command is carried out after the last fault


async def settle(stage: Stage) -> None:
    """Waits until all is carried out and every phone shows what `get` says; then each phone asks once more."""
    record, phones, bus = stage.record, stage.phones, stage.bus
    names = sorted({phone.presentity for phone in phones})
    end = Health(record).deadline(record.now(), DURABLE_SECONDS)
    await bus.collect()
    while not is_carried_out(record) and record.now() < end:
        await asyncio.sleep(2)
        await bus.collect()
    # longer than the deadline: what comes late is told apart from what never comes
    health = Health(record)
    last_change = max((made.at for made in record.made if made.source == "event"), default=0.0)
    end = max(health.deadline(record.now()), health.deadline(last_change)) + 3
    while record.now() < end:
        await asyncio.sleep(1)
        record.final = await states(bus, names)
        if is_in_step(record, phones) and all(
            health.deadline(fault.ended_at or 0) < record.now() for fault in health.faults
        ):
            break
    record.settled_at = record.now()
    await asyncio.gather(*(phone.refresh() for phone in phones))
    await asyncio.sleep(1)
    await bus.collect()


def is_carried_out(record: Record) -> bool:
    done = {made.serial for made in record.made} | {letter.serial for letter in record.dead}
    return all(it.serial in done for it in record.changes.values() if it.way == "durable" and it.place is not None)


def is_in_step(record: Record, phones: list[Phone]) -> bool:
    return all(
        phone.dialog is not None
        and phone.dialog.began_at is not None
        and all(
            phone.shown.get(feature) == record.final.get((phone.presentity, feature), (0, -1))[1]
            for feature in FEATURES
        )
        for phone in phones
    )


async def states(bus: Bus, names: list[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """What `get` says of everyone."""
    final = {}
    for name in names:
        got = await bus.get(name) or await bus.get(name)
        for feature, state in (got.states if got else {}).items():
            final[name, feature] = state
    return final
