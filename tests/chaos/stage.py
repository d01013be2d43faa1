"""A deployment with its phones and its record; whatever happens, everything is ended when it is left."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deployment import Deployment, Shape
from fault import Faults
from natsbus import Bus
from phone import Phone
from record import Record


@dataclass(frozen=True)
class Programs:
    """What is run, and where its logs and stores are kept."""

    binary: str
    nats_server: str
    log: str = "info"
    keep: Path | None = None
    newer: str = ""  # the binary that replaces the other one


class Stage:
    """To be used with `async with`: the processes are ready inside."""

    def __init__(self, name: str, shape: Shape, programs: Programs) -> None:
        self.name, self.programs = name, programs
        self.work = Path(tempfile.mkdtemp(prefix="dfks-chaos-"))
        self.deployment = Deployment(
            shape, programs.binary, programs.nats_server, self.work, programs.log, programs.newer
        )
        self.record = Record()
        self.bus = Bus(self.record, has_clocks=shape.has_clocks)
        self.faults = Faults(self.deployment, self.bus, self.record)
        self.phones: list[Phone] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        try:
            await self.deployment.start()
            await self.bus.connect(self.deployment.nats.urls())
        except BaseException:
            await self.end()
            raise
        self.begin(self.record.watch_lag())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Does this beside everything else, at most until the stage is left."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def phone(self, presentity: str, rng: random.Random, is_tcp: bool = False) -> Phone:
        """One more phone."""
        edges = {edge.name: edge.sip for edge in self.deployment.of("edge")}
        here = self.deployment.here
        phone = Phone(f"p{len(self.phones):02}", presentity, edges, is_tcp, rng, self.record, here)
        self.phones.append(phone)
        return phone

    async def all_subscribed(self) -> None:
        """Waits for the phones that are there, and for what they are told at first."""
        for _ in range(600):
            if all(phone.dialog and phone.dialog.began_at is not None for phone in self.phones):
                await asyncio.sleep(1)
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("the phones cannot subscribe, though nothing has happened yet")

    async def end(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        try:
            self.deployment.end()
        finally:
            await asyncio.gather(*tasks, return_exceptions=True)
            for phone in self.phones:
                phone.flow.close()
            await self.bus.close()
            if self.programs.keep:
                shutil.copytree(self.work, self.programs.keep / self.name, dirs_exist_ok=True)
            shutil.rmtree(self.work, ignore_errors=True)
