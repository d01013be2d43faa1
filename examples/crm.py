#!/usr/bin/env python3
"""A CRM: puts people on Do Not Disturb while they are in a meeting, and keeps a log of what happens to features.

Each line on stdin is `PRESENTITY start|end`; each event is a line on stdout. NATS_URL names the server. Needs nats-py.
"""

import asyncio
import json
import os
import sys
import uuid

import nats


async def meeting(bus, presentity, what):
    request = {"presentity": presentity, "feature": "DoNotDisturb", "status": 1 if what == "start" else 0}
    try:
        reply = json.loads((await bus.request("dfks.set", json.dumps(request).encode(), timeout=3)).data)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
        # No bridge now: store it, it is carried out as soon as there is one, once for this id.
        headers = {"Nats-Msg-Id": str(uuid.uuid4())}
        await bus.jetstream().publish("dfks.command.set", json.dumps(request).encode(), headers=headers)
        print("stored", presentity, flush=True)
        return
    if "error" in reply:
        print("refused", presentity, reply["error"]["code"], reply["error"]["description"], flush=True)
    else:
        print("set", presentity, "version", reply["state"]["version"], "phones", reply["watchers"], flush=True)


async def on_event(msg):
    event = json.loads(msg.data)
    new = event["new"]
    print("event", event["presentity"], new["feature"], new["status"], event["origin"], event["outcome"], flush=True)
    await msg.ack()


async def main():
    bus = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    # a durable consumer: what happens while the CRM is away comes when it is back
    await bus.jetstream().subscribe("dfks.event.feature.>", durable="crm", cb=on_event, manual_ack=True)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await meeting(bus, *line.split())
    await bus.drain()


asyncio.run(main())
