"""One pod of the chart as a process.

Its volumes are in a folder, its environment and arguments are those that the kubelet would give it. What a pod would
give is put in place of it, and nothing else: `/etc/dfks` is the folder, `0.0.0.0:PORT` a free port of 127.0.0.1, the
name of NATS the address of the test's servers.
"""

import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import chart

READY_SECONDS = 60
FIELDS = {"spec.nodeName": "node-1", "status.hostIP": "127.0.0.1", "status.podIP": "127.0.0.1"}


@functools.cache
def certificates():
    """A new authority, and a certificate of it for 127.0.0.1 and localhost."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dfks-tls-"))

    def openssl(arguments):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    authority = "-days 2 -subj /CN=authority -addext basicConstraints=critical,CA:TRUE"
    openssl(f"req -x509 {key} {authority} -keyout ca.key -out ca.crt")
    openssl(f"req {key} -subj /CN=localhost -keyout tls.key -out tls.csr")
    (folder / "ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
    )
    openssl("x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out tls.crt")
    return folder


class Secrets(dict):
    """The Secrets that the presets name."""

    def __missing__(self, name):
        if name in ("dfks-nats-tls", "dfks-sip-tls"):
            return {key: (certificates() / key).read_text() for key in ("ca.crt", "tls.crt", "tls.key")}
        raise KeyError(f"the Secret {name} is not known here")


SECRETS = Secrets(
    {
        "dfks-nats-edge": {"password": "edge-secret"},
        "dfks-nats-worker": {"password": "worker-secret"},
        "dfks-nats-mi": {"password": "mi-secret"},
        "dfks-users": {"users": "alice:example.com:5f4dcc3b5aa765d61d8327deb882cf99\n"},
        "dfks-mi": {"token": "mi-token-of-the-test"},
    }
)


class Pod:
    def __init__(self, objects, item, folder, nats=None):
        spec, container = chart.container(item)
        self.role, self.process, self.http = chart.role_of(item), None, None
        # the pod of `helm test` has neither
        self.pre_stop_seconds = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        self.grace_seconds = spec.get("terminationGracePeriodSeconds", 30)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        self.folder = folder
        for volume in spec["volumes"]:
            files = {}
            if "configMap" in volume:
                files = chart.named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
            elif "secret" in volume:
                files = SECRETS[volume["secret"]["secretName"]]
            into = pathlib.Path(self.inside(mounts[volume["name"]]))
            into.mkdir(parents=True)
            for name, text in files.items():
                (into / name).write_text(self.inside(text, nats))
        self.args = [self.inside(arg) for arg in container["args"]]
        # nothing of this process's own environment but where programs are
        self.env = {"PATH": os.environ["PATH"]}
        for entry in container.get("env", []):
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            fields = FIELDS | {"metadata.name": f"{item['metadata']['name']}-0"}
            self.env[entry["name"]] = fields[field] if field else entry["value"]

    def inside(self, text, nats=None):
        text = re.sub(r"/(etc/dfks|scratch)\b", rf"{self.folder}/\1", text)
        text = re.sub(r"\b0\.0\.0\.0:\d+", "127.0.0.1:0", text)
        return re.sub(r'^url = "(nats|tls)://.*"$', f'url = "{nats}"', text, flags=re.MULTILINE) if nats else text

    def start(self, program):
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [program, *self.args], env=self.env, stdout=log, stderr=subprocess.STDOUT, cwd="/"
            )

    def log(self):
        return (self.folder / "log").read_text()

    def running(self):
        """The line that says where it listens."""
        for line in self.log().splitlines():
            if '"running"' in line:
                entry = json.loads(line)
                return entry | entry.get("fields", {})
        return None

    def wait_ready(self):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            assert self.process.poll() is None, f"{self.role} ended: {self.log()}"
            self.http = self.http or (self.running() or {}).get("http")
            if self.http and self.get("/readyz")[0] == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.role} is not ready: {self.log()}")

    def sip_address(self, transport):
        return next(one.split(":", 1)[1] for one in self.running()["sip"].split(",") if one.startswith(f"{transport}:"))

    def get(self, path):
        return self.call(urllib.request.Request(self.http + path))

    def post(self, path, body, token=None):
        request = urllib.request.Request(
            self.running()["mi"].split(",")[0].removesuffix("/mi") + path, data=body.encode()
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        return self.call(request)

    def call(self, request):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds):
        return self.process.wait(seconds)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
