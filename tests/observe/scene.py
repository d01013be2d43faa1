"""The processes of the observed run, on free ports of loopback: nats-server behind a relay, five of dfks, and Prometheus."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATS_USERS = """
port: -1
jetstream {{ store_dir: "{dir}/jetstream" }}
authorization {{ users: [
  {{ user: "dfks", password: "observed" }}
  {{ user: "mi", password: "observed", permissions: {{ publish: {{ deny: ["dfks.event.>"] }} }} }}
] }}
"""


def wait_for(what, look, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def hurried(rules):
    """Rules for a run of one minute: what is looked at over minutes, or may wait for minutes, is so for seconds here."""
    return re.sub(r"\[(\d+)m\]", r"[\1s]", rules).replace("[5s]", "[10s]").replace("> 120", "> 2")


class Relay:
    """Stands between dfks and NATS, so that NATS can be away: `cut` ends all connections, `is_away` lets none through."""

    def __init__(self, port):
        self.port, self.is_away, self.open = port, False, set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def serve(self, reader, writer):
        if self.is_away:
            return writer.close()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return writer.close()  # the run is over
        self.open |= {writer, back}
        try:
            await asyncio.gather(self.pipe(reader, back), self.pipe(there, writer))
        except asyncio.CancelledError:
            pass  # the run is over
        self.open -= {writer, back}

    async def pipe(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        for writer in self.open:
            writer.transport.abort()


class Scene:
    def __init__(self, work, dfks):
        self.work, self.dfks, self.children, self.urls = Path(work), dfks, {}, {}

    def start(self, name, *command, **options):
        log = open(self.work / f"{name}.log", "w", encoding="utf-8")
        self.children[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work, **options
        )

    def stop(self, name):
        child = self.children.pop(name)
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def kill(self, name):
        """Ends it at once, and for good."""
        self.urls.pop(name)
        child = self.children.pop(name)
        child.kill()
        child.wait()

    def stop_all(self):
        for name in reversed(list(self.children)):
            self.stop(name)

    def log(self, name):
        return (self.work / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    async def nats(self):
        (self.work / "nats.conf").write_text(NATS_USERS.format(dir=self.work), encoding="utf-8")
        server = os.environ.get("NATS_SERVER_BIN") or str(ROOT / ".tools/bin/nats-server")
        self.start("nats", server, "-c", "nats.conf", "-a", "127.0.0.1", "--ports_file_dir", str(self.work))
        ports = wait_for(
            "the ports of nats-server",
            lambda: [path for path in self.work.glob("nats-server_*.ports") if path.stat().st_size],
        )
        url = json.loads(ports[0].read_text(encoding="utf-8"))["nats"][0]
        self.relay = await Relay(int(url.rsplit(":", 1)[1])).start()
        self.direct_url = url.replace("//", "//dfks:observed@")

    def run(self, name, role, config):
        """Starts a dfks; again on the ports that it had."""
        path = self.work / f"{name}.toml"
        if not path.exists():
            password = self.work / "password"
            password.write_text("observed", encoding="utf-8")
            user = "mi" if role == "mi" else "dfks"
            self.urls[name] = free_address()
            common = f'nats.url = "{self.relay.url}"\nnats.user = "{user}"\nnats.password_file = "{password}"\nhttp.listen = "{self.urls[name]}"\nlog.format = "json"\n'
            path.write_text(common + config, encoding="utf-8")
        self.start(name, self.dfks, "run", "--config", str(path), "--role", role)
        line = wait_for(f"{name} to run", lambda: self.running(name))
        return dict(re.findall(r"(udp|tcp|tls|ws|http)s?:(?://)?(127\.0\.0\.1:\d+)", line["sip"] + "," + line["mi"]))

    def running(self, name):
        if self.children[name].poll() is not None:
            raise RuntimeError(f"{name} ended:\n{self.log(name)}")
        lines = [
            json.loads(line) for line in self.log(name).splitlines() if line.startswith("{") and line.endswith("}")
        ]
        return next((line for line in lines if line["message"] == "running"), None)

    def metrics(self, name):
        with urllib.request.urlopen(f"http://{self.urls[name]}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def prometheus(self):
        targets = "".join(
            f"      - targets: ['{url}']\n        labels: {{ namespace: voip }}\n" for url in self.urls.values()
        )
        config = f"global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['rules/*.yaml']\nscrape_configs:\n  - job_name: dfks\n    static_configs:\n{targets}"
        (self.work / "prometheus.yml").write_text(config, encoding="utf-8")
        (self.work / "rules").mkdir()
        for rules in (ROOT / "grafana/rules").glob("*.yaml"):
            text = hurried(rules.read_text(encoding="utf-8")).replace("interval: 30s", "interval: 1s")
            (self.work / "rules" / rules.name).write_text(text, encoding="utf-8")
        self.prom = free_address()
        program = shutil.which("prometheus")
        self.start(
            "prometheus",
            program,
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=tsdb",
            f"--web.listen-address={self.prom}",
            "--log.level=warn",
        )
        wait_for("prometheus", self.is_prometheus_ready)

    def scraped(self):
        """Waits until Prometheus has looked at each process a few times, so that it sees what happens from now on as a change."""
        query = "min(count_over_time(up[1m])) >= 3 and count(up) == " + str(len(self.urls))
        wait_for("the first scrapes", lambda: self.ask("query", query=query)["result"])
        self.began_at = time.time()

    def is_prometheus_ready(self):
        if self.children["prometheus"].poll() is not None:
            raise RuntimeError(f"prometheus ended:\n{self.log('prometheus')}")
        try:
            return urllib.request.urlopen(f"http://{self.prom}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def ask(self, path, **parameters):
        with urllib.request.urlopen(
            f"http://{self.prom}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}", timeout=20
        ) as answer:
            return json.load(answer)["data"]
