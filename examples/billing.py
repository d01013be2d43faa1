#!/usr/bin/env python3
"""Billing owns call forwarding: it keeps the forwards in SQLite, and denies those that a tenant does not pay for.

Usage: billing.py [DATABASE]; NATS_URL names the server. Needs nats-py.
"""

import asyncio
import json
import os
import sqlite3
import sys

import nats

FEATURE = "CallForwardingAlways"
db = sqlite3.connect(sys.argv[1] if len(sys.argv) > 1 else "billing.db", isolation_level=None)
db.executescript("""
    CREATE TABLE IF NOT EXISTS forward (presentity TEXT PRIMARY KEY, status INTEGER NOT NULL, target TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS denied_prefix (domain TEXT, prefix TEXT, why TEXT);
""")


def state(presentity):
    row = db.execute("SELECT status, target FROM forward WHERE presentity = ?", (presentity,)).fetchone()
    return {"status": row[0], "values": {"forwardTo": row[1]}} if row else {"status": 0}


def why_denied(presentity, target):
    domain, number = presentity.partition("@")[2], target.removeprefix("sip:").removeprefix("tel:")
    rows = db.execute("SELECT prefix, why FROM denied_prefix WHERE domain = ?", (domain,))
    return next((why for prefix, why in rows if number.startswith(prefix)), None)


def change(request):
    presentity, target = request["presentity"], request["values"].get("forwardTo", "")
    if request["status"] and (why := why_denied(presentity, target)):
        return {"error": {"code": 403, "description": why}}
    db.execute("REPLACE INTO forward VALUES (?, ?, ?)", (presentity, request["status"], target))
    return {}  # as it was asked for


async def main():
    bus = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))

    async def on_get(msg):
        await msg.respond(json.dumps(state(json.loads(msg.data)["presentity"])).encode())

    async def on_set(msg):
        await msg.respond(json.dumps(change(json.loads(msg.data))).encode())

    # a queue group: any number of these share the requests
    await bus.subscribe(f"dfks.responder.get.*.{FEATURE}", queue="billing", cb=on_get)
    await bus.subscribe(f"dfks.responder.set.*.{FEATURE}", queue="billing", cb=on_set)
    await bus.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
