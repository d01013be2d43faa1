"""Real processes on loopback: started, signalled and ended by their pid, and never left behind."""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
HTTP_TIMEOUT = 1.0
LIBC = ctypes.CDLL(None)
LOOPBACK = "127.0.0.1"
HOSTS: dict[int, str] = {}  # of ports that are not on loopback: no port is given twice


def die_with_parent() -> None:
    """The kernel kills the child when this process is gone, however that came."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port(taken: set[int] = set()) -> int:  # noqa: B006 - remembers, so that no port is given twice
    """A port below the range of ephemeral ones, so that it is still free when its owner comes back to it."""
    while True:
        port = random.randrange(20000, 32000)
        if port in taken:
            continue
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port


def host_of(port: int) -> str:
    """Where whoever listens on this port is."""
    return HOSTS.get(port, LOOPBACK)


async def http_get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET; status 0 when nobody answers."""

    async def ask() -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(host_of(port), port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host_of(port)}\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode(errors="replace")
        finally:
            writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split()[1]), body

    try:
        return await asyncio.wait_for(ask(), HTTP_TIMEOUT)
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0, ""


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.05) -> bool:
    """Waits until it is so, and says whether it came to that."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        if await is_so():
            return True
        await asyncio.sleep(pause)
    return False


class Process:
    """One program that can be started again with the same command line."""

    def __init__(self, name: str, command: list[str], work: Path) -> None:
        self.name, self.command, self.work = name, command, work
        self.environment: dict[str, str] | None = None  # that of this program
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.work / f"{self.name}.log").open("ab") as log:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.work,
                env=self.environment,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls the kernel
            )

    def program(self) -> Path | None:
        """What runs, as the kernel says."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.child.pid}/exe").readlink() if self.child else None
        return None

    def is_up(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.child is not None and self.child.poll() is None:
            os.kill(self.child.pid, number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone(10)

    async def stop(self, seconds: float = 20) -> bool:
        """SIGTERM; whether it ended in time. What does not is killed."""
        self.signal(signal.SIGTERM)
        if await self.gone(seconds):
            return True
        await self.kill()
        return False

    async def gone(self, seconds: float) -> bool:
        async def is_gone() -> bool:
            return not self.is_up()

        return await until(is_gone, seconds, 0.02)

    def end(self) -> None:
        """Ends it at once, at the end of a run."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(10)

    def log(self) -> str:
        return (self.work / f"{self.name}.log").read_text(encoding="utf-8", errors="replace")
