"""Owns Do Not Disturb: answers gets and sets of it on the bus. The URL of NATS is the argument."""

import asyncio
import json
import sys

import nats

on = {"sip:alice@127.0.0.1": 1}


async def main():
    bus = await nats.connect(sys.argv[1])

    async def get(request):
        presentity = json.loads(request.data)["presentity"]
        await request.respond(json.dumps({"status": on.get(presentity, 0)}).encode())

    async def put(request):
        change = json.loads(request.data)
        on[change["presentity"]] = change["status"]
        await request.respond(b"{}")

    await bus.subscribe("dfks.responder.get.*.DoNotDisturb", cb=get)
    await bus.subscribe("dfks.responder.set.*.DoNotDisturb", cb=put)
    await bus.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
