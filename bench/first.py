"""From a clone to the first NOTIFY, as somebody does it who has built nothing yet."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from goal import Measured
from load import say
from process import ROOT, BenchError, die_with_parent, free_port, http_get

CONFIG = """
[nats]
embedded_listen = "127.0.0.1:0"
[sip]
listen = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
[mi]
http = ""
[http]
listen = "127.0.0.1:{http}"
"""
PATIENCE_SECONDS = 1800


def first(_binary: Path, _pairs: int, _seconds: int) -> dict[str, Measured]:
    """Of this folder only the commit is taken; the caches of cargo and pip are empty: all is fetched."""
    with tempfile.TemporaryDirectory(prefix="dfks-first-") as work:
        sip, http = free_port(), free_port()
        config = Path(work, "dfks.toml")
        config.write_text(CONFIG.format(sip=sip, http=http), encoding="utf-8")
        clone = Path(work, "clone")
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("CARGO", "MAKE", "MFLAGS"))
        }
        environment |= {"CARGO_HOME": f"{work}/cargo", "PIP_NO_CACHE_DIR": "1"}
        began = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(clone)], check=True)
        with Path(work, "log").open("wb") as log:
            run = subprocess.Popen(
                ["make", "run", f"CONFIG={config}"],
                cwd=clone,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls the kernel
            )
        try:
            while http_get(f"http://127.0.0.1:{http}/readyz")[0] != 200:
                if run.poll() is not None or time.monotonic() - began > PATIENCE_SECONDS:
                    raise BenchError("make run: " + Path(work, "log").read_text(errors="replace")[-2000:])
                time.sleep(0.1)
            ready = time.monotonic() - began
            phone = ["phone", "sip:alice@127.0.0.1", "--server", f"127.0.0.1:{sip}", "--for", "1"]
            notified = told(clone / "target/quick/dfks", phone) - began
        finally:
            run.terminate()
            run.wait(60)
    say(f"clone → ready {ready:.0f} s → first NOTIFY {notified:.0f} s, {os.cpu_count()} cores")
    note = f"{os.cpu_count()} cores; caches of cargo and pip empty: crates and nats-server are downloaded in it"
    return {"first": Measured([notified], note=note)}


def told(binary: Path, arguments: list[str]) -> float:
    """When a simulated phone has printed its first NOTIFY."""
    told_at = None
    with subprocess.Popen([str(binary), *arguments], stdout=subprocess.PIPE, text=True) as phone:
        for line in phone.stdout or []:
            if told_at is None and "NOTIFY" in line:
                told_at = time.monotonic()
    if told_at is None:
        raise BenchError(f"dfks phone was told nothing, and ended with {phone.returncode}")
    return told_at
