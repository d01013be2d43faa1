"""Carries out the steps of a schedule on the deployment, and writes down when each fault began and was over."""

import asyncio
import signal

from deployment import TAKEOVER_SECONDS, Deployment, Role
from natsbus import Bus, Failure
from natsd import Node
from process import until
from record import Fault, Record, is_of_nats
from schedule import LOSES, Step

TOLD_SECONDS = 5.0  # within which everyone is told once a fault is over
READY_SECONDS = 60.0


class Faults:
    """One at a time for each target; several targets at once where the schedule says so."""

    def __init__(self, deployment: Deployment, bus: Bus, record: Record) -> None:
        self.deployment, self.bus, self.record = deployment, bus, record
        self.turns: dict[str, asyncio.Lock] = {}

    async def run(self, steps: list[Step], began_at: float, seconds: float) -> None:
        """Carries out the steps, and is back when the last fault is over.

        A recovery that takes long puts the rest of its lane off, so that the time to see that all is well stays what
        it was; what would begin after `seconds` is left out.
        """

        async def lane(steps: list[Step]) -> None:
            over_at = began_at
            for step in steps:
                at = max(began_at + step.at, over_at + step.rest)
                if at > began_at + seconds:
                    return
                await asyncio.sleep(max(at - self.record.now(), 0))
                whole = "nats" if is_of_nats(step.target) else step.target
                async with self.turns.setdefault(whole, asyncio.Lock()):
                    await self.carry_out(step)
                over_at = self.record.now()

        lanes = {step.lane for step in steps}
        await asyncio.gather(*(lane([step for step in steps if step.lane == at]) for at in lanes))

    async def carry_out(self, step: Step) -> None:
        # a node of NATS that is cut off or paused takes the edges with it that are connected there
        loses_an_edge = step.target.startswith("edge") or (
            is_of_nats(step.target) and step.kind in ("isolate", "pause")
        )
        allowance = TOLD_SECONDS + (TAKEOVER_SECONDS if loses_an_edge else 0)
        if step.kind in LOSES:
            allowance += step.seconds  # TCP sends again what was lost, each time after twice as long
        fault = self.begin(step.kind, step.target, allowance)
        if step.kind in ("full", "refuse"):
            await self.fill(step)
        elif is_of_nats(step.target):
            await self.nats(step, fault)
        elif step.by:
            await self.clock(step, fault)
        else:
            await self.role(step, fault)
        fault.ended_at = fault.ended_at or self.record.now()

    def begin(self, kind: str, target: str, allowance: float) -> Fault:
        fault = Fault(kind, target, self.record.now(), allowance)
        self.record.faults.append(fault)
        return fault

    async def role(self, step: Step, fault: Fault) -> None:
        role = self.deployment.roles[step.target]
        kind = step.kind.removeprefix("long-")
        if kind == "pause":
            role.signal(signal.SIGSTOP)
            await asyncio.sleep(step.seconds)
            role.signal(signal.SIGCONT)
        elif kind in ("kill", "term"):
            await (role.kill() if kind == "kill" else self.stop(role, fault))
            await asyncio.sleep(step.seconds)
            await self.start(role, fault)
        elif kind in ("upgrade", "downgrade"):
            await self.replace(role, step, fault)
        elif role.namespace and kind in LOSES:
            losses = {"deafen": [role.namespace.deafen], "mute": [role.namespace.mute]}
            for loss in losses.get(kind, [role.namespace.deafen, role.namespace.mute]):
                loss(True)
            await asyncio.sleep(step.seconds)
            for loss in losses.get(kind, [role.namespace.deafen, role.namespace.mute]):
                loss(False)
        elif kind == "cut":
            for proxy in role.proxies:
                proxy.cut()
        else:
            for proxy in role.proxies:
                (proxy.hold if kind == "hold" else proxy.shut)(True)
            await asyncio.sleep(step.seconds)
            for proxy in role.proxies:
                (proxy.hold if kind == "hold" else proxy.shut)(False)

    async def stop(self, role: Role, fault: Fault) -> None:
        if not await role.stop():
            self.record.remark(f"{role.name} did not end within 20 s of SIGTERM")
            fault.note = "did not end"

    async def start(self, role: Role, fault: Fault) -> None:
        role.start()
        if not await role.ready(READY_SECONDS):
            self.record.remark(f"{role.name} is not ready {READY_SECONDS:.0f} s after its start")
            fault.note = "not ready"

    async def replace(self, role: Role, step: Step, fault: Fault) -> None:
        """Stops a process as its operator does, and starts it as the other version."""
        self.record.unread.append((self.record.now(), role.name, await role.unread()))
        await self.stop(role, fault)
        binary = self.deployment.newer if step.kind == "upgrade" else self.deployment.binary
        role.run_as(binary)
        await asyncio.sleep(step.seconds)
        await self.start(role, fault)
        if str(role.program()) != binary:
            fault.note = f"runs {role.program()}"

    async def clock(self, step: Step, fault: Fault) -> None:
        """A clock jumps, and jumps back; only the jumps are faults: whoever's clock is off keeps every promise."""
        role = self.deployment.roles[step.target]
        assert role.clock is not None
        if step.kind.startswith("start"):
            await self.stop(role, fault)
            role.clock.set(step.by)
            await self.start(role, fault)
        role.clock.set(step.by)
        fault.ended_at = self.record.now()
        await asyncio.sleep(step.seconds)
        back = self.begin("set right", step.target, fault.allowance)
        role.clock.set(0)
        back.ended_at = self.record.now()

    async def nats(self, step: Step, fault: Fault) -> None:
        nats = self.deployment.nats
        which = [at for at, node in enumerate(nats.nodes) if node.name in step.target.split("+")]
        nodes: list[Node] = [nats.nodes[at] for at in which]
        if step.kind == "isolate":
            nats.isolate(which[0], True)
            await asyncio.sleep(step.seconds)
            nats.isolate(which[0], False)
            await asyncio.sleep(1)  # health is looked at when the peers had time to notice
        elif step.kind == "pause":
            for node in nodes:
                node.process.signal(signal.SIGSTOP)
            await asyncio.sleep(step.seconds)
            for node in nodes:
                node.process.signal(signal.SIGCONT)
        else:
            await asyncio.gather(
                *(node.process.kill() if step.kind == "kill" else node.process.stop() for node in nodes)
            )
            await asyncio.sleep(step.seconds)
            for node in nodes:
                node.process.start()
        if not await nats.healthy(READY_SECONDS):
            self.record.remark("NATS is not healthy again")
            fault.note = "NATS not healthy"

    async def fill(self, step: Step) -> None:
        """Makes streams smaller than what they hold; and gives them their size back.

        A full bucket still takes what is not longer than what it holds under that key. One that refuses takes nothing.
        """
        before = {}
        for name in step.target.split("+"):
            try:
                info = await self.bus.api(f"STREAM.INFO.{name}")
            except Failure:
                continue
            if "config" in info and info["config"].get("discard") == "new":  # another would lose what it holds
                before[name] = info["config"]
                limit = {"max_msg_size": 1} if step.kind == "refuse" else {}
                await self.resize(info["config"], {"max_bytes": max(info["state"]["bytes"] // 2, 1)} | limit)
        await asyncio.sleep(step.seconds)
        for config in before.values():

            async def is_restored(config: dict[str, object] = config) -> bool:
                return await self.resize(config, {})

            await until(is_restored, READY_SECONDS, 0.2)

    async def resize(self, config: dict[str, object], limits: dict[str, int]) -> bool:
        try:
            reply = await self.bus.api(f"STREAM.UPDATE.{config['name']}", config | limits)
        except Failure:
            return False
        if "error" in reply:
            self.record.remark(f"{config['name']} cannot be resized: {reply['error']}")
        return "error" not in reply
