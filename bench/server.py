"""The servers that are measured: dfks as one process, dfks as three, and Kamailio as the yardstick."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from process import ROOT, BenchError, Process, free_port, http_get, wait_until

# the same nats-server for all, also where the program that is measured lies in another folder
NATS_SERVER = os.environ.setdefault("NATS_SERVER_BIN", str(ROOT / ".tools/bin/nats-server"))
# like for like with OpenSIPS and the yardstick: the whole state in one NOTIFY, and a route that is run
CONFIG = """
[nats]
{nats}
[sip]
listen = ["udp:127.0.0.1:{sip}"]
edge_id = "bench"
initial_notify = "multipart"
max_subscriptions = 1100000
max_subscriptions_per_presentity = 2000
[routes]
script = "{routes}"
[mi]
http = "{mi}"
[http]
listen = "127.0.0.1:{http}"
"""
KAMAILIO = """#!KAMAILIO
# message-summary from shared memory: nothing is stored, no NOTIFY has a body
debug=1
log_stderror=yes
children=4
disable_tcp=yes
auto_aliases=no
mpath="{modules}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "presence.so"
loadmodule "presence_mwi.so"
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "db_url", "")
modparam("presence", "subs_htable_size", 14)
modparam("presence", "max_expires", 7200)
modparam("presence", "server_address", "sip:127.0.0.1:{sip}")
listen=udp:127.0.0.1:{sip}
request_route {{
  if (!is_method("SUBSCRIBE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
  if (!t_newtran()) {{ sl_reply_error(); exit; }}
  handle_subscribe();
  t_release();
}}
"""


class Server:
    """Something that answers SUBSCRIBE at an address."""

    is_yardstick = False

    def __init__(self, work: Path) -> None:
        self.work = work
        self.sip = free_port()
        self.address = f"127.0.0.1:{self.sip}"
        self.processes: list[Process] = []

    def cpu(self) -> float:
        for one in self.processes:
            one.check()
        return sum(one.cpu() for one in self.processes)

    def rss(self) -> int:
        return sum(one.rss() for one in self.processes)

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        for one in reversed(self.processes):
            one.stop()
        self.processes = []


class Role:
    """A process of dfks and where it listens."""

    def __init__(self, server: Server, binary: Path, name: str, nats: str) -> None:
        self.http, self.mi = free_port(), free_port() if name in ("all", "mi") else 0
        self.server, self.name = server, name
        text = CONFIG.format(
            nats=nats,
            sip=server.sip,
            routes=ROOT / "bench/routes.rhai",
            mi=f"127.0.0.1:{self.mi}" if self.mi else "",
            http=self.http,
        )
        config = server.work / f"{name}.toml"
        config.write_text(text, encoding="utf-8")
        self.command = [str(binary), "run", "--config", str(config), *([] if name == "all" else ["--role", name])]

    def start(self) -> Process:
        self.process = Process(self.command, self.server.work / f"{self.name}.log")
        self.server.processes.append(self.process)
        return self.process

    def is_ready(self) -> bool:
        self.process.check()
        return http_get(f"http://127.0.0.1:{self.http}/readyz")[0] == 200

    def ready(self, seconds: float = 60) -> None:
        wait_until(self.is_ready, seconds, f"dfks {self.name} is ready")

    def metric(self, name: str) -> float:
        """A series of /metrics, nan when it is not there."""
        for line in http_get(f"http://127.0.0.1:{self.http}/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return float("nan")


class One(Server):
    """All roles in one process, with its own nats-server below it."""

    title = "dfks, one process"

    def __init__(self, work: Path, binary: Path) -> None:
        super().__init__(work)
        data = work / "data"
        self.edge = Role(self, binary, "all", f'data_dir = "{data}"\nembedded_listen = "127.0.0.1:0"')
        self.url_file = data / "nats.url"

    @property
    def mi(self) -> int:
        return self.edge.mi

    @property
    def nats_port(self) -> int:
        return int(self.url_file.read_text().strip().rsplit(":", 1)[1])

    def start(self) -> None:
        self.edge.start()
        self.edge.ready()


class Three(Server):
    """Edge, worker and mi bridge as a process each, and a nats-server."""

    title = "dfks, three processes"

    def __init__(self, work: Path, binary: Path) -> None:
        super().__init__(work)
        self.nats_port = free_port()
        url = f'url = "nats://127.0.0.1:{self.nats_port}"'
        self.edge, self.worker, self.bridge = (Role(self, binary, name, url) for name in ("edge", "worker", "mi"))

    def start(self) -> None:
        command = [NATS_SERVER, "-a", "127.0.0.1", "-p", str(self.nats_port), "-js", "-sd", str(self.work / "js")]
        self.nats = Process(command, self.work / "nats.log")
        self.processes.append(self.nats)
        roles = (self.worker, self.bridge, self.edge)
        for role in roles:
            role.start()
        for role in roles:
            role.ready()


class Kamailio(Server):
    """The yardstick: the presence module of Debian's Kamailio."""

    title = "yardstick"
    is_yardstick = True

    def __init__(self, work: Path, _binary: Path) -> None:
        super().__init__(work)
        modules = next(Path("/usr/lib").glob("*/kamailio/modules/presence.so"), None)
        if modules is None:
            raise BenchError("Kamailio is not there (Debian: kamailio kamailio-presence-modules)")
        text = KAMAILIO.format(modules=modules.parent, sip=self.sip)
        (work / "kamailio.cfg").write_text(text, encoding="utf-8")

    def start(self) -> None:
        command = ["kamailio", "-f", str(self.work / "kamailio.cfg"), "-DD", "-E", "-m", "1024", "-M", "32"]
        process = Process(command, self.work / "kamailio.log")
        self.processes.append(process)
        # it says nothing when it serves: its port is taken, and its children are there
        time.sleep(1.5)
        process.check()


@contextlib.contextmanager
def running(kind: type[Server], binary: Path) -> Iterator[Server]:
    """A server in a folder of its own, stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="dfks-bench-") as work:
        server = kind(Path(work), binary)
        try:
            server.start()
            yield server
        finally:
            server.stop()
