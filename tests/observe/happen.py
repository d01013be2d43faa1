"""What happens in the observed run: phones and services that work, and every failure that an alert or a panel looks at."""

import asyncio
import json
import signal
import subprocess
import time
import urllib.request

import nats
from phone import Phone, hung_up_phone
from scene import free_address

SECONDS = 60
DOMAIN = "example.com"
SCRIPT = 'fn dfks_set(dfks) { if dfks.presentity.contains("broken") { let x = dfks.nothing; } if dfks.presentity.contains("deny") { deny("no"); } }\nfn dfks_get(dfks) { if dfks.presentity.contains("broken") { dfks.nothing = 1; } }\n'
USERS = "alice:example.com:" + "0" * 32 + "\n"


def presentity(name):
    return f"sip:{name}@{DOMAIN}"


async def responders(bus):
    answers = set()

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

    async def late(_msg):
        await asyncio.sleep(0)

    async def fails(msg):
        await msg.respond(b"no JSON")

    for way in ("get", "set"):
        await bus.subscribe(f"dfks.responder.{way}.example_com.CallForwardingBusy", cb=ok)
        await bus.subscribe(f"dfks.responder.{way}.slow_example_com.*", cb=slow)
        await bus.subscribe(f"dfks.responder.{way}.late_example_com.*", cb=late)
        await bus.subscribe(f"dfks.responder.{way}.fails_example_com.*", cb=fails)
    await bus.subscribe("dfks.responder.set.example_com.CallForwardingAlways", cb=denies)


async def ask(bus, subject, **payload):
    try:
        await bus.request(subject, json.dumps(payload).encode(), timeout=2)
    except nats.errors.Error:
        pass


def mi(address, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "dfks_set_feature", "params": list(params)}).encode()
    try:
        urllib.request.urlopen(f"http://{address}/mi", body, timeout=3).read()
    except OSError:
        pass


async def phones(server, bridge, until):
    """Phones that work, and services that command them."""
    all_of_them = [await Phone(server, presentity(f"u{at % 10}")).open() for at in range(20)]
    for phone in all_of_them:
        await phone.send()
    turn = 0
    while time.monotonic() < until:
        turn += 1
        phone = all_of_them[turn % len(all_of_them)]
        await phone.press(turn % 2)
        await asyncio.to_thread(mi, bridge, presentity(f"u{turn % 10}"), "CallForwardingNoAnswer", 1, ["ringCount/3"])
        await asyncio.sleep(0.05)


async def odd_phones(server, stream):
    """Phones that answer badly, late, or not at all; and requests that are refused."""
    for name, answers in (("gone", 481), ("ill", 500), ("silent", 0), ("gone", 404)):
        phone = await Phone(server, presentity(name), answers=answers).open()
        await phone.send()
    await hung_up_phone(stream, presentity("hung-up"))
    for name in ("broken", "deny"):
        phone = await Phone(server, presentity(name)).open()
        await phone.send()
        await phone.press(True)
    for tenant in ("late", "fails"):
        phone = await Phone(server, f"sip:a@{tenant}.{DOMAIN}").open()
        await phone.send()


async def refused(server, guarded, web, until):
    """What is refused, again and again."""
    phone = await Phone(server, presentity("odd")).open()
    await phone.send()
    while time.monotonic() < until:
        await phone.send(body="<no xml")
        await phone.send(method="PUBLISH")
        phone.transport.sendto(b"garbage\r\n\r\n")
        short = await Phone(server, presentity("short")).open()
        await short.send(expires=5)
        for _ in range(4):
            stranger = await Phone(guarded, presentity("alice"), user="alice", password="wrong").open()
            await stranger.send()
            stranger.transport.close()
        try:
            reader, writer = await asyncio.open_connection(*web)
            writer.write(b"no WebSocket\r\n\r\n")
            await asyncio.wait_for(reader.read(), 2)
            writer.close()
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(1)


async def flood(server, source, seconds):
    phone = await Phone(server, presentity("flood")).open(source)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20):
            phone.request()
        await asyncio.sleep(0.02)


async def commands(bus, until):
    stream = bus.jetstream()
    turn = 0
    while time.monotonic() < until:
        turn += 1
        await ask(bus, "dfks.set", presentity=presentity(f"u{turn % 10}"), feature="DoNotDisturb", status=turn % 2)
        await ask(bus, "dfks.set", presentity=presentity("u1"), feature="CallForwardingAlways", status=1)
        await ask(bus, "dfks.set", presentity=presentity("u1"), feature="Nonsense", status=1)
        await ask(bus, "dfks.set", presentity=presentity("broken"), feature="DoNotDisturb", status=1)
        await ask(bus, "dfks.set", presentity=presentity("gone"), feature="DoNotDisturb", status=1)
        await ask(bus, "dfks.get", presentity=presentity("u1"))
        await ask(bus, "dfks.watchers")
        if turn < 40:
            await ask(bus, "dfks.set", presentity=f"sip:a@fails.{DOMAIN}", feature="DoNotDisturb", status=1)
            await ask(bus, "dfks.set", presentity=f"sip:a@late.{DOMAIN}", feature="DoNotDisturb", status=1)
        try:
            for payload in (
                {"presentity": presentity("u2"), "feature": "DoNotDisturb", "status": turn % 2},
                {"feature": "DoNotDisturb"},
            ):
                await stream.publish("dfks.command.set", json.dumps(payload).encode(), timeout=2)
        except nats.errors.Error:
            pass
        await asyncio.sleep(0.1)


def certificate(folder):
    """A certificate for this host, that can be used."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            folder / "tls.key",
            "-out",
            folder / "tls.crt",
        ],
        check=True,
        capture_output=True,
    )


async def frozen_worker(scene, bus):
    """The only worker hangs: commands wait, fill queues and streams, and fail."""
    worker, stream = scene.children["worker"], bus.jetstream()
    worker.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 6
    turn = 0

    async def command(number):
        payload = {"presentity": presentity(f"c{number}"), "feature": "DoNotDisturb", "status": 1}
        try:
            await stream.publish("dfks.command.set", json.dumps(payload).encode() + b" " * 2000, timeout=2)
        except nats.errors.Error:
            pass

    while time.monotonic() < until:
        turn += 1
        sets = [
            ask(bus, "dfks.set", presentity=presentity(f"w{at}"), feature="DoNotDisturb", status=turn % 2)
            for at in range(280)
        ]
        await asyncio.gather(*sets, *(command(turn * 40 + at) for at in range(40)))
    worker.send_signal(signal.SIGCONT)


async def slow_tenant(bus):
    """A responder that answers, but late."""
    for turn in range(4):
        await asyncio.gather(
            *(
                ask(bus, "dfks.set", presentity=f"sip:s{at}@slow.{DOMAIN}", feature="DoNotDisturb", status=turn % 2)
                for at in range(60)
            )
        )


async def restarted_phones(server):
    """Phones that have forgotten what they subscribed to when the NOTIFY comes."""
    all_of_them = [await Phone(server, presentity(f"r{at}"), answers=481).open() for at in range(20)]
    for _ in range(30):
        for phone in all_of_them:
            phone.forget()
            await phone.send()


async def other_phones(server):
    """Phones that want another event package."""
    phone = await Phone(server, presentity("other"), event="presence").open()
    for _ in range(1000):
        phone.forget()
        await phone.send()


async def lost_edge(scene, bus, server):
    """An edge dies, and what is for its phones waits."""
    phone = await Phone(server, presentity("orphan")).open()
    await phone.send()
    await asyncio.sleep(1)
    scene.kill("edge-lost")
    for turn in range(3):
        await ask(bus, "dfks.set", presentity=presentity("orphan"), feature="DoNotDisturb", status=(turn + 1) % 2)


async def tardy_phones(server):
    """Phones that confirm late. They subscribe; the result makes changes for them."""
    all_of_them = [await Phone(server, presentity("tardy"), after=1.5).open() for _ in range(30)]
    for phone in all_of_them:
        await phone.send()

    async def change(bus):
        for turn in range(6):
            await ask(bus, "dfks.set", presentity=presentity("tardy"), feature="DoNotDisturb", status=(turn + 1) % 2)
            await asyncio.sleep(1.5)

    return change


async def without_nats(scene):
    """NATS is away, and then comes and goes."""
    scene.relay.is_away = True
    scene.relay.cut()
    await asyncio.sleep(4)
    scene.relay.is_away = False
    for _ in range(6):
        await asyncio.sleep(1)
        scene.relay.cut()


async def happen(scene):
    """Everything that the expressions look at."""
    await scene.nats()
    script, users = scene.work / "routes.rhai", scene.work / "users"
    script.write_text(SCRIPT, encoding="utf-8")
    users.write_text(USERS, encoding="utf-8")
    certificate(scene.work)
    tls = f'sip.tls.certificate = "{scene.work}/tls.crt"\nsip.tls.key = "{scene.work}/tls.key"\n'
    sip = (
        'sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "ws:127.0.0.1:0", "tls:127.0.0.1:0"]\nmi.http = ""\n' + tls
    )
    bridge = free_address()
    bus = await nats.connect(scene.direct_url)
    # small, to be filled
    await bus.jetstream().add_stream(
        name="DFKS_COMMANDS",
        subjects=["dfks.command.>"],
        retention="workqueue",
        max_bytes=64 << 10,
        discard="new",
        allow_direct=True,
    )
    edge = await asyncio.to_thread(
        scene.run,
        "edge",
        "edge",
        sip + 'sip.edge_id = "edge-0"\nsip.rate_limit_exempt = ["127.0.0.1/32"]\nsip.max_subscriptions = 80\n',
    )
    digest = await asyncio.to_thread(
        scene.run,
        "edge-digest",
        "edge",
        sip
        + f'sip.edge_id = "edge-1"\nsip.auth.mode = "digest"\nsip.auth.users = "{users}"\nsip.rate_limit_exempt = ["127.0.0.0/8"]\n',
    )
    lost = await asyncio.to_thread(scene.run, "edge-lost", "edge", sip + 'sip.edge_id = "edge-2"\n')
    await asyncio.to_thread(scene.run, "worker", "worker", f'mi.http = ""\nroutes.script = "{script}"\n')
    await asyncio.to_thread(scene.run, "mi", "mi", f'mi.http = "{bridge}"\n')
    await asyncio.to_thread(scene.prometheus)
    await asyncio.to_thread(scene.scraped)
    listeners = edge["udp"], edge["tcp"], edge["ws"], digest["udp"], lost["udp"]
    server, stream, web, guarded, dying = ((host, int(port)) for host, port in (at.split(":") for at in listeners))
    await responders(bus)
    until = time.monotonic() + SECONDS

    async def troubles():
        await odd_phones(server, stream)
        change = await tardy_phones(server)
        await restarted_phones(server)
        await other_phones(server)
        await flood(server, "127.0.0.2", 5)
        script.write_text("fn dfks_set(dfks) {", encoding="utf-8")
        (scene.work / "tls.crt").write_text("no certificate", encoding="utf-8")
        await lost_edge(scene, bus, dying)
        await asyncio.gather(change(bus), slow_tenant(bus))
        await frozen_worker(scene, bus)
        await asyncio.to_thread(scene.stop, "mi")
        await asyncio.sleep(3)
        await asyncio.to_thread(scene.run, "mi", "mi", "")
        await without_nats(scene)

    await asyncio.gather(
        phones(server, bridge, until), commands(bus, until), refused(server, guarded, web, until), troubles()
    )
    await asyncio.sleep(3)
    await bus.close()
