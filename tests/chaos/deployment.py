"""The deployment under test: nats-server, edges, workers and bridges as processes of their own on loopback."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from clock import Clock
from namespace import HERE, Namespace, prepare
from natsd import Nats
from process import HOSTS, LOOPBACK, Process, free_port, http_get, until
from proxy import Proxy

TAKEOVER_SECONDS = 5
TOKEN = "chaos"
CONFIG = """
http.listen = "{host}:{http}"
log.format = "json"
log.level = "{log}"
run.shutdown_grace_seconds = 10
subscription.min_expires_seconds = 30
[nats]
url = "{url}"
replicas = {replicas}
[mi]
http = "{mi}"
token_file = "{token}"
"""
EDGE = """
[sip]
listen = ["udp:{host}:{sip}", "tcp:{host}:{sip}"]
edge_id = "{name}"
takeover_seconds = {takeover}
{auth}
"""
# where it does not listen on loopback, it wants to know whom it may let in
AUTH = 'auth = {{ mode = "trusted", trusted = ["{here}/32"] }}'


@dataclass(frozen=True)
class Shape:
    """How many of what."""

    nats: int = 1
    edges: int = 3
    workers: int = 2
    bridges: int = 2
    has_proxies: bool = False  # between the roles and NATS
    has_clocks: bool = False  # of each role its own
    has_wires: bool = False  # each role is in a network namespace of its own
    tied: tuple[tuple[str, int], ...] = ()  # a role and the only NATS node that it knows


class Role(Process):
    """A process of dfks with one role."""

    def __init__(self, name: str, kind: str, binary: str, work: Path) -> None:
        super().__init__(name, [binary, "run", "--config", str(work / f"{name}.toml"), "--role", kind], work)
        self.kind = kind
        self.http, self.sip, self.mi = free_port(), free_port(), free_port()
        self.proxies: list[Proxy] = []
        self.clock: Clock | None = None
        self.namespace: Namespace | None = None
        self.host = LOOPBACK

    def run_as(self, binary: str) -> None:
        """The next start is that of another version."""
        self.command[self.command.index("run") - 1] = binary

    def move_to(self, namespace: Namespace) -> None:
        """It is started there, and has its addresses there."""
        self.namespace, self.host = namespace, namespace.host
        self.command = namespace.command(self.command)
        HOSTS.update(dict.fromkeys((self.http, self.sip, self.mi), self.host))

    def configure(self, nats: Nats, shape: Shape, log: str) -> None:
        tied = dict(shape.tied).get(self.name)
        nodes = nats.nodes if tied is None else [nats.nodes[tied]]
        ports = [node.client for node in nodes]
        if shape.has_proxies:
            self.proxies = [Proxy(free_port(), port) for port in ports]
            ports = [proxy.port for proxy in self.proxies]
        urls = [f"nats://{nats.host}:{port}" for port in ports]
        mi = f"{self.host}:{self.mi}" if self.kind == "mi" else ""
        replicas = 3 if len(nats.nodes) > 1 else 1
        token = self.work / "token"
        token.write_text(TOKEN, encoding="utf-8")
        text = CONFIG.format(
            host=self.host, http=self.http, log=log, url=",".join(urls), replicas=replicas, mi=mi, token=token
        )
        if self.kind == "edge":
            auth = AUTH.format(here=nats.host) if self.namespace else ""
            text += EDGE.format(auth=auth, host=self.host, sip=self.sip, name=self.name, takeover=TAKEOVER_SECONDS)
        (self.work / f"{self.name}.toml").write_text(text, encoding="utf-8")
        if shape.has_clocks:
            self.clock = Clock(self.name, self.work)
            self.environment = self.clock.environment

    async def is_ready(self) -> bool:
        status, _ = await http_get(self.http, "/readyz")
        return status == 200

    async def ready(self, seconds: float) -> bool:
        return await until(self.is_ready, seconds)

    async def unread(self) -> dict[str, float]:
        """How often it could not read something, by series of its metrics; only those that counted."""
        _, text = await http_get(self.http, "/metrics")
        lines = [line.rpartition(" ") for line in text.splitlines() if "unreadable" in line and line[0] != "#"]
        return {series: float(value) for series, _, value in lines if float(value)}


class Deployment:
    """All processes of a run. `nats` and `roles` are what faults are done to."""

    def __init__(
        self, shape: Shape, binary: str, nats_server: str, work: Path, log: str = "info", newer: str = ""
    ) -> None:
        self.shape, self.binary, self.newer = shape, binary, newer
        self.here = HERE if shape.has_wires else LOOPBACK
        self.nats = Nats(shape.nats, nats_server, work, self.here)
        counts = (("edge", shape.edges), ("worker", shape.workers), ("mi", shape.bridges))
        names = [(f"{kind}{at + 1}", kind) for kind, count in counts for at in range(count)]
        self.roles = {name: Role(name, kind, binary, work) for name, kind in names}
        if shape.has_wires:
            prepare()
        for number, role in enumerate(self.roles.values(), 1):
            if shape.has_wires:
                role.move_to(Namespace(number))
            role.configure(self.nats, shape, log)

    def of(self, kind: str) -> list[Role]:
        return [role for role in self.roles.values() if role.kind == kind]

    async def start(self) -> None:
        await self.nats.start()
        for role in self.roles.values():
            for proxy in role.proxies:
                await proxy.start()
            role.start()
        ready = await asyncio.gather(*(role.ready(90) for role in self.roles.values()))
        for role, is_ready in zip(self.roles.values(), ready, strict=True):
            if not is_ready:
                raise RuntimeError(f"{role.name} does not get ready:\n{role.log()[-3000:]}")
        if not await self.nats.healthy(60):
            raise RuntimeError("NATS does not get healthy with its streams")

    def end(self) -> None:
        """Ends every process of the run."""
        for role in self.roles.values():
            role.end()
            for proxy in role.proxies:
                proxy.close()
            if role.namespace:
                role.namespace.end()
        self.nats.end()
