"""Processes on loopback: started, measured and ended by their pid, and never left behind."""

import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """A measurement that cannot be made; its text says why."""


def family(pid: int) -> list[int]:
    """A process and those below it that are alive."""
    children: list[str] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_of(stat: str) -> float:
    """Seconds of processor time, user and system, in a line of /proc/PID/stat."""
    fields = stat.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds(pid: int | str) -> float:
    return cpu_of(Path(f"/proc/{pid}/stat").read_text())


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


def die_with_parent() -> None:
    """The kernel kills the child when this process is gone, however that came."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port that is free for UDP and TCP now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


def wait_until(is_so: Callable[[], bool], seconds: float, what: str, pause: float = 0.01) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def http_get(url: str) -> tuple[int, str]:
    """Status and body; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


class Process:
    """One program and what it starts."""

    def __init__(self, command: list[str], log: Path, cwd: Path | None = None) -> None:
        self.command, self.log = command, log
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls the kernel
            )

    def is_up(self) -> bool:
        return self.child.poll() is None

    def check(self) -> None:
        """Fails when the program has ended by itself."""
        if not self.is_up():
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.command[0]} ended with {self.child.returncode}:\n{tail}")

    def cpu(self) -> float:
        return sum(map(cpu_seconds, family(self.child.pid)))

    def rss(self) -> int:
        return sum(map(rss_bytes, family(self.child.pid)))

    def stop(self, seconds: float = 60) -> None:
        """SIGTERM; what does not end in time is killed."""
        if self.is_up():
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
