"""A network namespace for each role, and a wire to it that can be cut: nothing gets through, and nobody is told.

All of it lies in a namespace that this harness runs in (`enter`), so nothing of the machine's network is touched.

    harness: phones, NATS, 10.77.0.1 ── 10.77.N.1 ═ wire ═ 10.77.N.2 :role N
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = "10.77.0.1"  # of the harness, from every role
MARK = "CHAOS_NAMESPACE"
NOBODY = "02:00:00:00:00:99"  # what is sent to this link address is dropped by whoever gets it
SECONDS = 5.0


def is_allowed() -> bool:
    """Whether this machine lets us make network namespaces."""
    if os.environ.get(MARK):
        return True
    try:
        return not subprocess.run(["unshare", "-rn", "ip", "link"], check=False, capture_output=True).returncode
    except OSError:
        return False


def enter() -> None:
    """Runs this program again in a namespace of its own. Exits where the machine does not allow that."""
    if os.environ.get(MARK):
        return
    if not is_allowed():
        sys.exit("network namespaces cannot be made here: unshare -rn ip link")
    os.environ[MARK] = "made"
    os.execvp("unshare", ["unshare", "-rn", sys.executable, *sys.argv])


def ip(*arguments: str, at: int = 0) -> None:
    """`ip`, here or in the namespace of a process."""
    there = ["nsenter", "-t", str(at), "-n"] if at else []
    subprocess.run([*there, "ip", *arguments], check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)


def prepare() -> None:
    """The addresses of the harness itself."""
    ip("link", "set", "lo", "up")
    ip("addr", "replace", f"{HERE}/32", "dev", "lo")


class Namespace:
    """A namespace with one wire to the harness."""

    def __init__(self, number: int) -> None:
        self.near, self.host, self.wire = f"10.77.{number}.1", f"10.77.{number}.2", f"chaos{number}"
        here = Path("/proc/self/ns/net").readlink()
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        end = time.monotonic() + SECONDS
        while self.network() in (None, here):
            if time.monotonic() > end:
                raise RuntimeError("no network namespace is made")
            time.sleep(0.01)
        there = self.holder.pid
        ip("link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", str(there))
        ip("addr", "add", f"{self.near}/30", "dev", self.wire)
        ip("link", "set", self.wire, "up")
        ip("link", "set", "lo", "up", at=there)
        ip("addr", "add", f"{self.host}/30", "dev", "wire", at=there)
        ip("link", "set", "wire", "up", at=there)
        ip("route", "add", "default", "via", self.near, at=there)

    def network(self) -> Path | None:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.holder.pid}/ns/net").readlink()
        return None

    def command(self, command: list[str]) -> list[str]:
        """The same, run there."""
        return ["nsenter", "-t", str(self.holder.pid), "-n", *command]

    def deafen(self, is_so: bool) -> None:
        """Nothing gets there any more, or again."""
        self.lose(self.host, self.wire, is_so, 0)

    def mute(self, is_so: bool) -> None:
        """Nothing comes from there any more, or again."""
        self.lose(self.near, "wire", is_so, self.holder.pid)

    @staticmethod
    def lose(address: str, wire: str, is_so: bool, at: int) -> None:
        if is_so:
            ip("neigh", "replace", address, "lladdr", NOBODY, "dev", wire, "nud", "permanent", at=at)
        else:
            ip("neigh", "del", address, "dev", wire, at=at)

    def end(self) -> None:
        """Its wire goes with it."""
        self.holder.kill()
        self.holder.wait()
