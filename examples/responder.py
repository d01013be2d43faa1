#!/usr/bin/env python3
"""A responder: owns Do Not Disturb of every presentity. NATS_URL names the server; needs nats-py."""

import asyncio, json, os
import nats

status = {}  # by presentity: what a database would hold


async def get(msg):
    await msg.respond(json.dumps({"status": status.get(json.loads(msg.data)["presentity"], 1)}).encode())


async def put(msg):
    change = json.loads(msg.data)
    status[change["presentity"]] = change["status"]
    print(change["presentity"], change["feature"], change["status"], "from", change["origin"], flush=True)
    await msg.respond(b"{}")  # as asked; {"error": {"code": 403, "description": "why"}} would deny it


async def main():
    bus = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    await bus.subscribe("dfks.responder.get.*.DoNotDisturb", cb=get)
    await bus.subscribe("dfks.responder.set.*.DoNotDisturb", cb=put)
    await bus.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
