#!/usr/bin/env python3
"""A responder: answers for DoNotDisturb of every presentity. Needs nats-py (make tools: PYTHONPATH=.tools/python)."""
import asyncio, json, os
import nats

STATE = {"status": 1}  # what a CRM or billing system would look up


async def answer(msg):
    request = json.loads(msg.data)
    print("asked for", request["feature"], "of", request["presentity"], flush=True)
    await msg.respond(json.dumps(STATE).encode())


async def main():
    bus = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    await bus.subscribe("dfks.responder.get.*.DoNotDisturb", cb=answer)
    await asyncio.Event().wait()

asyncio.run(main())
