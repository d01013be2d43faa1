"""What happens in the observed run: every failure that an alert or a panel looks at, one after the other, under load.

A failure goes on until Prometheus has seen what the alerts for it look for.
"""

import asyncio
import itertools
import signal
import subprocess
import time

import nats
from judge import judge
from load import DOMAIN, SLOW_TENANTS, command, commands, phones, presentity, refused, responders, switch
from phone import Phone, hung_up_phone
from prometheus import PATIENCE_SECONDS
from scene import free_address

SCRIPT = """
fn dfks_set(dfks) {
    if dfks.presentity.contains("broken") { let x = dfks.nothing; }
    if dfks.presentity.contains("deny") { deny("no"); }
}
fn dfks_get(dfks) {
    if dfks.presentity.contains("broken") { dfks.nothing = 1; }
}
"""
USERS = "alice:example.com:" + "0" * 32 + "\n"
LISTEN = """
sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "ws:127.0.0.1:0", "tls:127.0.0.1:0"]
sip.tls.certificate = "{work}/tls.crt"
sip.tls.key = "{work}/tls.key"
mi.http = ""
"""
EDGE = """
sip.edge_id = "edge-0"
sip.rate_limit_exempt = ["127.0.0.1/32"]
sip.max_subscriptions = 80
"""
EDGE_DIGEST = """
sip.edge_id = "edge-1"
sip.auth.mode = "digest"
sip.auth.users = "{users}"
sip.rate_limit_exempt = ["127.0.0.0/8"]
"""
EDGE_LOST = """
sip.edge_id = "edge-2"
"""
WORKER = """
mi.http = ""
routes.script = "{script}"
"""
MI = """
mi.http = "{bridge}"
"""


def certificate(folder):
    """A certificate for this host, that can be used."""
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run(["openssl", *request.split(), *files], check=True, capture_output=True)


class Run:
    """The processes with their addresses, a connection to NATS, and what can go wrong with them."""

    def __init__(self, scene, bus):
        self.scene, self.bus, self.until_fired = scene, bus, scene.prometheus.until_fired
        self.script, self.bridge = scene.work / "routes.rhai", free_address()

    async def start(self):
        work, start = self.scene.work, self.scene.run
        users = work / "users"
        self.script.write_text(SCRIPT, encoding="utf-8")
        users.write_text(USERS, encoding="utf-8")
        certificate(work)
        listen = LISTEN.format(work=work)
        # small, to be filled
        await self.bus.jetstream().add_stream(
            name="DFKS_COMMANDS",
            subjects=["dfks.command.>"],
            retention="workqueue",
            max_bytes=64 << 10,
            discard="new",
            allow_direct=True,
        )
        edge = await asyncio.to_thread(start, "edge", "edge", listen + EDGE)
        digest = await asyncio.to_thread(start, "edge-digest", "edge", listen + EDGE_DIGEST.format(users=users))
        lost = await asyncio.to_thread(start, "edge-lost", "edge", listen + EDGE_LOST)
        await asyncio.to_thread(start, "worker", "worker", WORKER.format(script=self.script))
        await asyncio.to_thread(start, "mi", "mi", MI.format(bridge=self.bridge))
        self.server, self.stream, self.web, self.guarded, self.dying = (
            (host, int(port))
            for host, port in (
                address.split(":") for address in (edge["udp"], edge["tcp"], edge["ws"], digest["udp"], lost["udp"])
            )
        )

    async def odd_phones(self):
        """Phones that answer badly, or not at all; phones whose presentity a script or a responder fails."""
        for name, answers in (("gone", 481), ("ill", 500), ("silent", 0), ("gone", 404)):
            phone = await Phone(self.server, presentity(name), answers=answers).open()
            await phone.subscribe()
        await hung_up_phone(self.stream, presentity("hung-up"))
        for name in ("broken", "deny"):
            phone = await Phone(self.server, presentity(name)).open()
            await phone.subscribe()
            await phone.press(True)
        for tenant in ("late", "fails"):
            phone = await Phone(self.server, presentity("a", f"{tenant}.{DOMAIN}")).open()
            await phone.subscribe()
        await self.until_fired(
            pause, "DfksResponderFailing", "DfksScriptErrors", "DfksPermissionMissing", "DfksDeadLetters"
        )

    async def tardy_phones(self):
        """Phones that confirm late, and responders that answer late."""
        for _ in range(30):
            phone = await Phone(self.server, presentity("tardy"), after=1.5).open()
            await phone.subscribe()
        turns, tenants = itertools.count(), itertools.cycle(SLOW_TENANTS)

        async def change():
            await switch(self.bus, presentity("tardy"), next(turns) % 2 == 0)
            await asyncio.sleep(1.5)

        async def many_changes():
            tenant = next(tenants)
            await asyncio.gather(*(switch(self.bus, presentity(f"s{at}", tenant), True) for at in range(60)))

        await asyncio.gather(
            self.until_fired(change, "DfksDeliverySlow"), self.until_fired(many_changes, "DfksWorkerSlow")
        )

    async def restarted_phones(self):
        """Phones that have forgotten what they subscribed to when the NOTIFY comes."""
        all_of_them = [await Phone(self.server, presentity(f"r{at}"), answers=481).open() for at in range(20)]

        async def restart():
            for phone in all_of_them:
                phone.forget()
                await phone.send()

        await self.until_fired(restart, "DfksNotifyFailing")

    async def full_edge(self):
        """More phones than the edge takes; then they leave."""
        all_of_them = [await Phone(self.server, presentity(f"f{at}")).open() for at in range(40)]
        for phone in all_of_them:
            await phone.send()
        await self.until_fired(pause, "DfksSubscriptionsNearLimit")
        for phone in all_of_them:
            await phone.send(expires=0)

    async def other_phones(self):
        """Phones that want another event package."""
        phone = await Phone(self.server, presentity("other"), event="presence").open()

        async def subscribe():
            for _ in range(100):
                phone.forget()
                await phone.send()

        await self.until_fired(subscribe, "DfksPhonesRefused")

    async def flood(self):
        """One source that sends too much."""
        phone = await Phone(self.server, presentity("flood")).open("127.0.0.2")

        async def send():
            for _ in range(25):
                for _ in range(20):
                    phone.request()
                await asyncio.sleep(0.02)

        await self.until_fired(send, "DfksRateLimited")

    async def bad_files(self):
        """A script and a certificate that cannot be used."""
        self.script.write_text("fn dfks_set(dfks) {", encoding="utf-8")
        (self.scene.work / "tls.crt").write_text("no certificate", encoding="utf-8")
        await self.until_fired(pause, "DfksScriptNotReloaded", "DfksTlsNotReloaded")

    async def lost_edge(self):
        """An edge dies, and what is for its phones waits."""
        phone = await Phone(self.dying, presentity("orphan")).open()
        await phone.subscribe()
        self.scene.kill("edge-lost")
        for turn in range(3):
            await switch(self.bus, presentity("orphan"), turn % 2 == 0)
        await self.until_fired(pause, "DfksNotifyQueueStuck")

    async def frozen_worker(self):
        """The only worker hangs: commands wait, fill queues and streams, and fail."""
        worker, numbers = self.scene.children["worker"], itertools.count()

        async def burst():
            sets = [switch(self.bus, presentity(f"w{at}"), at % 2) for at in range(280)]
            stored = [
                command(
                    self.bus,
                    padding=b" " * 2000,
                    presentity=presentity(f"c{next(numbers)}"),
                    feature="DoNotDisturb",
                    status=1,
                )
                for _ in range(40)
            ]
            await asyncio.gather(*sets, *stored)

        worker.send_signal(signal.SIGSTOP)
        try:
            await self.until_fired(
                burst, "DfksCommandsFail", "DfksCommandsStuck", "DfksQueueFilling", "DfksStreamFilling"
            )
        finally:
            worker.send_signal(signal.SIGCONT)

    async def missing_role(self):
        """The only MI bridge is gone for a while."""
        await asyncio.to_thread(self.scene.stop, "mi")
        await self.until_fired(pause, "DfksRoleMissing")
        await asyncio.to_thread(self.scene.run, "mi", "mi", "")

    async def without_nats(self):
        """NATS is away, and then comes and goes."""
        relay = self.scene.relay
        connections = relay.connections
        relay.is_away = True
        relay.cut()
        await self.until_fired(pause, "DfksNatsAway", "DfksBusLoses", "DfksSubscribesFail")
        relay.is_away = False

        async def flap():
            for _ in range(100):
                if relay.connections >= connections:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            relay.cut()

        await self.until_fired(flap, "DfksNatsFlapping")

    async def calm(self):
        """Goes on until every expression has had a value."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (await asyncio.to_thread(judge, self.scene.prometheus)).wrong and time.monotonic() < until:
            await pause()
        self.scene.prometheus.say("the end")


async def pause():
    await asyncio.sleep(0.5)


async def happen(scene):
    """Everything that the expressions look at."""
    await scene.nats()
    bus = await nats.connect(scene.direct_url)
    run = Run(scene, bus)
    await run.start()
    await asyncio.to_thread(scene.observe)
    await responders(bus)
    async with asyncio.TaskGroup() as group:
        load = [
            group.create_task(always)
            for always in (phones(run.server, run.bridge), commands(bus), refused(run.server, run.guarded, run.web))
        ]
        for trouble in (
            run.odd_phones,
            run.tardy_phones,
            run.restarted_phones,
            run.full_edge,
            run.other_phones,
            run.flood,
            run.bad_files,
            run.lost_edge,
            run.frozen_worker,
            run.missing_role,
            run.without_nats,
            run.calm,
        ):
            await trouble()
        # again and again: wait_for of Python 3.11 may pass over a cancellation that comes with its answer
        while not all(always.done() for always in load):
            for always in load:
                always.cancel()
            await pause()
    await bus.close()
