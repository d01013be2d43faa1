"""What goes on during the whole observed run: responders, phones and services that work, and what is refused."""

import asyncio
import contextlib
import json
import urllib.parse
import urllib.request

import nats
from phone import Phone

DOMAIN = "example.com"
# each responder of these tenants answers late; a tenant of its own for each time that it is looked at: breakers open
SLOW_TENANTS = [f"slow-{at}.{DOMAIN}" for at in range(8)]


def presentity(name, domain=DOMAIN):
    return f"sip:{name}@{domain}"


async def responders(bus):
    """One that answers, one that denies, late ones, and one that fails."""
    answers, heard = set(), set()

    async def ok(msg):
        await msg.respond(b'{"status":1}')

    async def denies(msg):
        await msg.respond(b'{"error":{"code":403,"description":"not on this tariff"}}')

    async def slow(msg):
        async def answer():
            await asyncio.sleep(0.6)
            await msg.respond(b"{}")

        task = asyncio.ensure_future(answer())
        answers.add(task)
        task.add_done_callback(answers.discard)

    async def late(msg):
        # who has never answered would be taken for an observer
        if msg.subject not in heard:
            heard.add(msg.subject)
            await msg.respond(b"{}")

    async def fails(msg):
        await msg.respond(b'{"status":"no status"}')

    for way in ("get", "set"):
        await bus.subscribe(f"dfks.responder.{way}.example_com.CallForwardingBusy", cb=ok)
        await bus.subscribe(f"dfks.responder.{way}.late_example_com.*", cb=late)
        await bus.subscribe(f"dfks.responder.{way}.fails_example_com.*", cb=fails)
        for tenant in SLOW_TENANTS:
            await bus.subscribe(f"dfks.responder.{way}.{tenant.replace('.', '_')}.*", cb=slow)
    await bus.subscribe("dfks.responder.set.example_com.CallForwardingAlways", cb=denies)
    await bus.flush()


async def ask(bus, subject, **payload):
    with contextlib.suppress(nats.errors.Error):
        await bus.request(subject, json.dumps(payload).encode(), timeout=2)


async def switch(bus, whose, on, feature="DoNotDisturb"):
    """A service sets a feature."""
    await ask(bus, "dfks.set", presentity=whose, feature=feature, status=int(on))


async def command(bus, padding=b"", **payload):
    """A service sets a feature, and does not wait until it is done."""
    with contextlib.suppress(nats.errors.Error):
        await bus.jetstream().publish("dfks.command.set", json.dumps(payload).encode() + padding, timeout=2)


def mi(address, *params):
    call = {"jsonrpc": "2.0", "id": 1, "method": "dfks_set_feature", "params": params}
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://{address}/mi", json.dumps(call).encode(), timeout=3).read()


def features(address, whose):
    """A PBX asks for features over HTTP."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://{address}/v1/features/{urllib.parse.quote(whose, safe='')}", timeout=3).read()


async def phones(server, bridge):
    """Phones that work, a service that calls OpenSIPS MI, and a PBX."""
    all_of_them = [await Phone(server, presentity(f"u{at % 10}")).open() for at in range(20)]
    for phone in all_of_them:
        await phone.subscribe()
    turn = 0
    while True:
        turn += 1
        await all_of_them[turn % len(all_of_them)].press(turn % 2)
        whose = presentity(f"u{turn % 10}")
        await asyncio.to_thread(mi, bridge, whose, "CallForwardingNoAnswer", 1, ["ringCount/3"])
        await asyncio.to_thread(features, bridge, whose)
        await asyncio.sleep(0.05)


async def commands(bus):
    """Services that command, some of them in vain."""
    turn = 0
    while True:
        turn += 1
        await switch(bus, presentity(f"u{turn % 10}"), turn % 2)
        await switch(bus, presentity("u1"), True, "CallForwardingAlways")
        await switch(bus, presentity("u1"), True, "Nonsense")
        await switch(bus, presentity("broken"), True)
        await switch(bus, presentity("gone"), True)
        await ask(bus, "dfks.get", presentity=presentity("u1"))
        await ask(bus, "dfks.watchers")
        if turn < 40:
            await switch(bus, presentity("a", f"fails.{DOMAIN}"), True)
            await switch(bus, presentity("a", f"late.{DOMAIN}"), True)
        await command(bus, presentity=presentity("u2"), feature="DoNotDisturb", status=turn % 2)
        await command(bus, feature="DoNotDisturb")
        await asyncio.sleep(0.1)


async def refused(server, guarded, web):
    """What is refused, again and again."""
    phone = await Phone(server, presentity("odd")).open()
    await phone.subscribe()
    while True:
        await phone.send(body="<no xml")
        await phone.send(method="PUBLISH")
        phone.transport.sendto(b"garbage\r\n\r\n")
        short = await Phone(server, presentity("short")).open()
        await short.send(expires=5)
        short.transport.close()
        await asyncio.gather(*(stranger(guarded) for _ in range(4)))
        await no_websocket(web)
        await asyncio.sleep(1)


async def stranger(server):
    """Someone with a wrong password."""
    phone = await Phone(server, presentity("alice"), user="alice", password="wrong").open()
    await phone.send()
    phone.transport.close()


async def no_websocket(address):
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"no WebSocket\r\n\r\n")
        await asyncio.wait_for(reader.read(), 2)
        writer.close()
