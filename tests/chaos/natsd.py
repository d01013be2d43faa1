"""The nats-server of a run: one, or a cluster of three whose routes go through proxies."""

import json
from pathlib import Path

from process import LOOPBACK, Process, free_port, http_get, until
from proxy import Proxy

CONFIG = """
server_name: {name}
listen: {host}:{client}
http: 127.0.0.1:{monitor}
jetstream {{ store_dir: "{work}/{name}" }}
{cluster}
"""
# what a node says of itself to others leads nowhere: only the routes below are used, and each is a proxy
CLUSTER = """
cluster {{
  name: chaos, listen: 127.0.0.1:{route}, advertise: "127.0.0.1:{nowhere}", no_advertise: true
  routes: [{routes}]
}}
"""


class Node:
    """One nats-server."""

    def __init__(self, name: str, program: str, work: Path) -> None:
        self.name = name
        self.client, self.monitor, self.route = free_port(), free_port(), free_port()
        self.process = Process(name, [program, "-c", str(work / f"{name}.conf")], work)

    async def is_healthy(self) -> bool:
        status, _ = await http_get(self.monitor, "/healthz")
        return status == 200

    async def has_leaders(self) -> bool:
        """Whether every stream that it holds has a leader."""
        status, body = await http_get(self.monitor, "/jsz?streams=true&accounts=true")
        if status != 200:
            return False
        details = json.loads(body).get("account_details") or []
        streams = [stream for account in details for stream in account.get("stream_detail") or []]
        return all(stream.get("cluster", {}).get("leader") for stream in streams)


class Nats:
    """All servers, and the routes between them."""

    def __init__(self, count: int, program: str, work: Path, host: str = LOOPBACK) -> None:
        self.host = host
        self.nodes = [Node(f"n{at + 1}", program, work) for at in range(count)]
        self.routes: dict[tuple[int, int], Proxy] = {}  # from node, to node
        nowhere = free_port()
        for here, node in enumerate(self.nodes):
            for there, other in enumerate(self.nodes):
                if here != there:
                    self.routes[here, there] = Proxy(free_port(), other.route)
            urls = ", ".join(f'"nats://127.0.0.1:{proxy.port}"' for (at, _), proxy in self.routes.items() if at == here)
            cluster = CLUSTER.format(route=node.route, nowhere=nowhere, routes=urls) if count > 1 else ""
            ports = {"client": node.client, "monitor": node.monitor}
            config = CONFIG.format(name=node.name, host=host, work=work, cluster=cluster, **ports)
            (work / f"{node.name}.conf").write_text(config, encoding="utf-8")

    async def start(self) -> None:
        for proxy in self.routes.values():
            await proxy.start()
        for node in self.nodes:
            node.process.start()
        if not await self.healthy(60):
            raise RuntimeError("nats-server does not get healthy:\n" + self.nodes[0].process.log()[-3000:])

    async def is_healthy(self) -> bool:
        for node in self.nodes:
            if not await node.is_healthy():
                return False
        return len(self.nodes) == 1 or await self.nodes[0].has_leaders()

    async def healthy(self, seconds: float) -> bool:
        return await until(self.is_healthy, seconds, 0.1)

    def isolate(self, at: int, is_cut: bool) -> None:
        """Cuts a node off from its peers, or lets it back; its clients notice nothing."""
        for pair, proxy in self.routes.items():
            if at in pair:
                proxy.shut(is_cut)

    def urls(self) -> list[str]:
        return [f"nats://{self.host}:{node.client}" for node in self.nodes]

    def end(self) -> None:
        for proxy in self.routes.values():
            proxy.close()
        for node in self.nodes:
            node.process.end()
