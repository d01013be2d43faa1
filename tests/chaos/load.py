"""The load of a run: key presses, commands in every way that there is, gets, and phones that restart."""

import asyncio
import itertools
import json
import random
from collections.abc import Coroutine

from deployment import TOKEN
from natsbus import Bus
from phone import Phone
from process import host_of
from record import FEATURES, Change, Key, Record

DOMAIN = "127.0.0.1"
# share of each action
ACTIONS = {"press": 36, "press elsewhere": 6, "set": 20, "mi": 8, "durable": 16, "get": 12, "restart": 2}
MAX_IN_FLIGHT = 150


def presentities(count: int) -> list[str]:
    return [f"sip:u{at:02}@{DOMAIN}" for at in range(count)]


class Load:
    """Begins an action every `pause` seconds on average, until `stop`."""

    def __init__(
        self, phones: list[Phone], bus: Bus, bridges: list[int], rng: random.Random, record: Record, pause: float
    ):
        self.phones, self.bus, self.bridges, self.rng, self.record, self.pause = (
            phones,
            bus,
            bridges,
            rng,
            record,
            pause,
        )
        self.serials = itertools.count(1001)
        self.names = sorted({phone.presentity for phone in phones})
        self.order = {name: asyncio.Lock() for name in self.names}  # of durable commands of a presentity
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self.rng.uniform(0, 2 * self.pause))
            if len(self.tasks) < MAX_IN_FLIGHT:
                action = self.rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
                self.spawn(self.act(action))

    def spawn(self, action: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(action)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def finished(self, seconds: float) -> None:
        """Waits for what was begun."""
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=seconds)

    async def act(self, action: str) -> None:
        phone = self.rng.choice(self.phones)
        key: Key = (phone.presentity, self.rng.choice(FEATURES))
        elsewhere = self.rng.choice(list(phone.edges))
        bridge = self.rng.choice(self.bridges)
        again_after = self.rng.uniform(1, 25) if self.rng.random() < 0.15 else 0.0
        if action.startswith("press"):
            if not phone.turn.locked():
                await phone.press(self.change(key, "press", phone.name), elsewhere if "elsewhere" in action else None)
        elif action == "set":
            await self.bus.set(self.change(key, "set", "service"))
        elif action == "mi":
            await self.mi(self.change(key, "mi", f"bridge on {bridge}"), bridge)
        elif action == "durable":
            await self.durable(self.change(key, "durable", "service"), again_after)
        elif action == "get":
            await self.bus.get(phone.presentity)
        elif action == "restart":
            phone.forget()

    def change(self, key: Key, way: str, by: str) -> Change:
        return Change(next(self.serials), key, way, by, self.record.now())

    async def durable(self, change: Change, again_after: float) -> None:
        """One after the other for each presentity, so that their order is known; now and then sent once more."""
        async with self.order[change.key[0]]:
            await self.bus.command(change)
        if again_after and change.place:
            await asyncio.sleep(again_after)
            await self.bus.publish(change)

    async def mi(self, change: Change, port: int) -> None:
        """MI over HTTP, as opensips-cli does it."""
        presentity, feature = change.key
        params = [presentity, feature, 1, [f"forwardTo/{change.serial}"]]
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "dfks_set_feature", "params": params})
        self.bus.begin(change)
        try:
            answer = await asyncio.wait_for(post(port, "/mi", body), 6)
            reply = json.loads(answer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            change.said = type(error).__name__
            return
        finally:
            change.answered_at = self.record.now()
        if "error" in reply:
            detail = reply["error"].get("data") or ""
            change.outcome, change.said = "error", f"{reply['error'].get('message')} {detail}".strip()
        elif "result" in reply:
            change.outcome, change.said = "ok", str(reply["result"])


async def post(port: int, path: str, body: str) -> str:
    reader, writer = await asyncio.open_connection(host_of(port), port)
    try:
        head = f"POST {path} HTTP/1.0\r\nHost: dfks\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answer = (await reader.read()).decode(errors="replace")
    finally:
        writer.close()
    return answer.partition("\r\n\r\n")[2]
