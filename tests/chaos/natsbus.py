"""The harness's own connection to NATS: commands, gets, and the streams of events and dead letters."""

import asyncio
import calendar
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from record import FEATURES, Change, Dead, Got, Made, Record

from sip import target_of

Failure = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)


def wall(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time in UTC."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")


def state_of(state: dict[str, Any]) -> tuple[int, int]:
    """Version and serial of a FeatureState."""
    return state["version"], target_of(str(state.get("values", {}).get("forwardTo", "")))


class Bus:
    """What a service would do on the bus, with what comes back written into the record."""

    def __init__(self, record: Record, has_clocks: bool = False) -> None:
        self.record, self.has_clocks = record, has_clocks
        self.events: dict[str, dict[str, Any]] = {}  # by id
        self.client = Client()

    async def connect(self, urls: list[str]) -> None:
        async def silent(_error: Exception) -> None:
            pass  # connections are lost on purpose

        await self.client.connect(
            urls, max_reconnect_attempts=-1, reconnect_time_wait=1, connect_timeout=2, ping_interval=2,
            max_outstanding_pings=2, dont_randomize=True, error_cb=silent,
        )  # fmt: skip
        self.stream = self.client.jetstream(timeout=2)
        await self.client.subscribe("dfks.event.feature.>", cb=self.event)

    async def close(self) -> None:
        if self.client.is_closed or not self.client.servers:
            return  # it was never there
        with contextlib.suppress(*Failure):
            await self.client.close()

    async def event(self, msg: Msg) -> None:
        """An event of a feature: evidence of the state after it and of the one before."""
        event = json.loads(msg.data)
        if event["id"] in self.events:
            return
        self.events[event["id"]] = event
        if event.get("outcome") != "applied" or event.get("feature") not in FEATURES:
            return
        key, at = (event["presentity"], event["feature"]), self.record.at_wall(wall(event["time"]))
        if self.has_clocks:  # the event says what it is by the clock of whoever published it
            at = self.record.at_wall(msg.metadata.timestamp.timestamp()) if msg.reply else self.record.now()
        self.record.made.append(Made(at, key, *state_of(event["new"]), "event"))
        self.record.made.append(Made(at, key, *state_of(event["old"]), "old state of an event"))

    async def set(self, change: Change) -> None:
        """`dfks.set`. An error, and no answer at all, are told apart: only the first is a promise."""
        payload = self.payload(change)
        self.begin(change)
        try:
            reply = json.loads((await self.client.request("dfks.set", payload, timeout=5)).data)
        except Failure as error:
            change.said = type(error).__name__
            return
        finally:
            change.answered_at = self.record.now()
        if "error" in reply:
            change.outcome, change.said = "error", f"{reply['error'].get('code')} {reply['error'].get('description')}"
            return
        change.version, serial = state_of(reply["state"])
        change.outcome, change.said = "ok", f"version {change.version}, {reply.get('watchers')} watchers"
        self.record.made.append(Made(self.record.now(), change.key, change.version, serial, "reply"))

    async def command(self, change: Change, seconds: float = 60) -> None:
        """`dfks.command.set`, sent with the same id until it is acknowledged."""
        self.begin(change)
        end = change.asked_at + seconds
        while self.record.now() < end:
            if await self.publish(change):
                return
            await asyncio.sleep(0.5)

    async def publish(self, change: Change) -> bool:
        change.sent_at.append(self.record.now())
        try:
            ack = await self.stream.publish(
                "dfks.command.set", self.payload(change), timeout=2, headers={"Nats-Msg-Id": f"chaos-{change.serial}"}
            )
        except Failure as error:
            change.said = change.said if change.place else f"not acknowledged: {error or type(error).__name__}"
            return False
        if change.place is None:
            change.place, change.outcome, change.answered_at = ack.seq, "ok", self.record.now()
        change.said = f"acknowledged as {change.place}, sent {len(change.sent_at)} times"
        return True

    async def get(self, presentity: str) -> Got | None:
        asked_at = self.record.now()
        try:
            payload = json.dumps({"presentity": presentity, "features": FEATURES}).encode()
            reply = json.loads((await self.client.request("dfks.get", payload, timeout=3)).data)
        except Failure:
            return None
        if "error" in reply:
            return None
        got = Got(asked_at, self.record.now(), presentity, {it["feature"]: state_of(it) for it in reply["features"]})
        self.record.gets.append(got)
        for feature, (version, serial) in got.states.items():
            self.record.made.append(Made(got.at, (presentity, feature), version, serial, "get"))
        return got

    async def collect(self) -> None:
        """Reads what the streams of events and dead letters kept."""
        async for msg in self.read("DFKS_EVENTS", "dfks.event.feature.>"):
            await self.event(msg)
        async for msg in self.read("DFKS_DEAD", "dfks.dead.>"):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                values = json.loads(msg.data).get("values", {})
                headers = msg.headers or {}
                self.record.dead.append(
                    Dead(target_of(values.get("forwardTo", "")), headers.get("Dfks-Dead-Reason", ""))
                )

    async def read(self, stream: str, subject: str) -> AsyncIterator[Msg]:
        """What the stream holds now."""
        try:
            if not (await self.stream.stream_info(stream)).state.messages:
                return
            found = await self.stream.subscribe(subject, stream=stream, ordered_consumer=True)
        except Failure as error:
            self.record.remark(f"{stream} cannot be read: {error or type(error).__name__}")
            return
        try:
            while True:
                msg = await found.next_msg(timeout=1.5)
                yield msg
                if msg.metadata.num_pending == 0:
                    return
        except Failure:
            return
        finally:
            with contextlib.suppress(*Failure):
                await found.unsubscribe()

    async def watched(self, seconds: float = 1.0) -> dict[str, str]:
        """The live subscriptions that the edges say they hold: Call-ID -> presentity."""
        watched: dict[str, str] = {}
        inbox = self.client.new_inbox()

        async def took(msg: Msg) -> None:
            for watcher in json.loads(msg.data or b"{}").get("watchers", []):
                watched[watcher["call_id"]] = watcher["presentity"]

        with contextlib.suppress(*Failure):
            answers = await self.client.subscribe(inbox, cb=took)
            await self.client.publish("dfks.watchers", b"{}", reply=inbox)
            await asyncio.sleep(seconds)
            await answers.unsubscribe()
        return watched

    async def api(self, subject: str, payload: object = None) -> dict[str, Any]:
        data = b"" if payload is None else json.dumps(payload).encode()
        return json.loads((await self.client.request(f"$JS.API.{subject}", data, timeout=3)).data)

    def begin(self, change: Change) -> None:
        change.asked_at = self.record.now()
        self.record.changes[change.serial] = change

    @staticmethod
    def payload(change: Change) -> bytes:
        presentity, feature = change.key
        values = {"forwardTo": str(change.serial)}
        return json.dumps({"presentity": presentity, "feature": feature, "status": 1, "values": values}).encode()
