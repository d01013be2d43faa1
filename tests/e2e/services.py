"""What a stranger with nothing but nats-py finds out about the services on a NATS server (ADR-32): one JSON object."""

import asyncio
import json
import os

import nats


async def ask(bus, subject):
    """All answers within half a second."""
    inbox, answers = bus.new_inbox(), []
    waiting = await bus.subscribe(inbox)
    await bus.publish(subject, reply=inbox)
    while True:
        try:
            answer = await waiting.next_msg(timeout=0.5 if answers else 5)
        except nats.errors.TimeoutError:
            return answers
        answers.append(json.loads(answer.data))


async def main():
    bus = await nats.connect(os.environ["NATS_URL"])
    found = {verb: await ask(bus, f"$SRV.{verb}") for verb in ("PING", "INFO", "STATS")}
    for info in found["INFO"]:
        found[info["name"]] = await ask(bus, f"$SRV.PING.{info['name']}.{info['id']}")
    print("ready")
    print(json.dumps(found), flush=True)


asyncio.run(main())
