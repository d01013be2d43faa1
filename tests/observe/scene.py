"""The processes of the observed run, on free ports of loopback: nats-server behind a relay, dfks, Prometheus."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from expressions import ROOT
from prometheus import Prometheus
from relay import Relay

NATS = """
port: -1
jetstream {{ store_dir: "{dir}/jetstream" }}
authorization {{ users: [
  {{ user: "dfks", password: "observed" }}
  {{ user: "mi", password: "observed", permissions: {{ publish: {{ deny: ["dfks.event.>"] }} }} }}
] }}
"""
DFKS = """
nats.url = "{nats}"
nats.user = "{user}"
nats.password_file = "{password}"
http.listen = "{http}"
log.format = "json"
"""
LISTENER = r"(udp|tcp|tls|ws|http)s?:(?://)?(127\.0\.0\.1:\d+)"


def wait_for(what, look, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


class Scene:
    def __init__(self, work, dfks, least_seconds):
        self.work, self.dfks, self.children, self.urls = Path(work), dfks, {}, {}
        self.prometheus = Prometheus(free_address(), least_seconds)

    def start(self, name, *command):
        with (self.work / f"{name}.log").open("w", encoding="utf-8") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work)
        self.children[name] = child

    def stop(self, *names):
        """Ends them, side by side, as an operator would."""
        children = [self.children.pop(name) for name in names]
        for child in children:
            child.terminate()
        for child in children:
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
        # NATS last: the others end in an orderly way only while it is there
        self.stop(*(set(self.children) - {"nats"}))
        self.stop(*self.children)

    def log(self, name):
        return (self.work / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def is_alive(self, name):
        if self.children[name].poll() is not None:
            raise RuntimeError(f"{name} ended:\n{self.log(name)}")
        return True

    async def nats(self):
        (self.work / "nats.conf").write_text(NATS.format(dir=self.work), encoding="utf-8")
        server = os.environ.get("NATS_SERVER_BIN") or str(ROOT / ".tools/bin/nats-server")
        self.start("nats", server, "-c", "nats.conf", "-a", "127.0.0.1", "--ports_file_dir", str(self.work))
        url = wait_for("the ports of nats-server", self.nats_url)
        self.relay = await Relay(int(url.rsplit(":", 1)[1])).start()
        self.direct_url = url.replace("//", "//dfks:observed@")

    def nats_url(self):
        for path in self.work.glob("nats-server_*.ports"):
            if text := path.read_text(encoding="utf-8"):
                return json.loads(text)["nats"][0]
        return self.is_alive("nats") and None

    def run(self, name, role, config):
        """Starts a dfks; again with the configuration that it had. Where it listens, by transport."""
        path = self.work / f"{name}.toml"
        if not path.exists():
            password = self.work / "password"
            password.write_text("observed", encoding="utf-8")
            self.urls[name] = free_address()
            user = "mi" if role == "mi" else "dfks"
            common = DFKS.format(nats=self.relay.url, user=user, password=password, http=self.urls[name])
            path.write_text(common + config, encoding="utf-8")
        self.start(name, self.dfks, "run", "--config", str(path), "--role", role)
        line = wait_for(f"{name} to run", lambda: self.running(name))
        return dict(re.findall(LISTENER, f"{line['sip']},{line['mi']}"))

    def running(self, name):
        """The line of its log that says where it listens."""
        self.is_alive(name)
        whole = (line for line in self.log(name).splitlines() if line.startswith("{") and line.endswith("}"))
        return next((line for line in map(json.loads, whole) if line["message"] == "running"), None)

    def metrics(self, name):
        with urllib.request.urlopen(f"http://{self.urls[name]}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def observe(self):
        """Starts Prometheus, and waits until it has looked at each process a few times."""
        self.start("prometheus", *self.prometheus.command(self.work, self.urls))
        wait_for("prometheus", lambda: self.is_alive("prometheus") and self.prometheus.is_ready())
        wait_for("the first scrapes", lambda: self.prometheus.has_looked(len(self.urls)))
        self.prometheus.begin()
