"""Real nats-servers on loopback: one, or a cluster of JetStream servers."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

import chart

START_SECONDS = 60


def program():
    return os.environ.get("NATS_SERVER_BIN") or str(chart.ROOT / ".tools/bin/nats-server")


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Servers:
    def __init__(self, size, tls=None, permissions=None):
        self.size, self.tls, self.permissions, self.processes = size, tls, permissions, []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dfks-nats-"))

    def __enter__(self):
        ports = free_ports(3 * self.size)
        clients, routes, monitors = (ports[at::3] for at in range(3))
        scheme = "tls" if self.tls else "nats"
        self.url = ",".join(f"{scheme}://127.0.0.1:{port}" for port in clients)
        env = os.environ | {
            f"DFKS_{user.upper()}_PASSWORD": f"{user}-secret"
            for user in ("edge", "worker", "mi", "responder", "portal", "observer", "operator", "tenant")
        }
        try:
            # before the first starts: all of them read it
            if self.permissions:
                shutil.copy(self.permissions, self.folder / "permissions.conf")
            for at in range(self.size):
                path = self.folder / f"server-{at}.conf"
                path.write_text(self.config(at, clients, routes, monitors))
                command = [program(), "-t", "-c", path]
                checked = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
                assert checked.returncode == 0, checked.stdout + checked.stderr
                with (self.folder / f"server-{at}.log").open("w") as log:
                    self.processes.append(subprocess.Popen([program(), "-c", path], env=env, stdout=log, stderr=log))
            self.wait(monitors)
        except BaseException:
            self.__exit__()
            raise
        return self

    def config(self, at, clients, routes, monitors):
        text = [
            f"server_name: test-{at}",
            f'listen: "127.0.0.1:{clients[at]}"',
            f'http: "127.0.0.1:{monitors[at]}"',
            f'jetstream {{ store_dir: "{self.folder}/data-{at}" }}',
        ]
        if self.size > 1:
            others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
            text.append(f'cluster {{ name: test, listen: "127.0.0.1:{routes[at]}", routes: [{others}] }}')
        if self.tls:
            text.append(
                f'tls {{ cert_file: "{self.tls}/tls.crt", key_file: "{self.tls}/tls.key", '
                f'ca_file: "{self.tls}/ca.crt", verify: true }}'
            )
        if self.permissions:
            text.append('include "permissions.conf"')
        return "\n".join(text) + "\n"

    def wait(self, monitors):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert all(one.poll() is None for one in self.processes), self.logs()
            try:
                for port in monitors:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                        pass
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/jsz", timeout=2) as answer:
                        assert self.size == 1 or json.load(answer).get("meta_cluster", {}).get("leader")
                return
            except (OSError, AssertionError):
                time.sleep(0.2)
        raise AssertionError(self.logs())

    def logs(self):
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def __exit__(self, *_):
        for one in self.processes:
            one.terminate()
        for one in self.processes:
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
