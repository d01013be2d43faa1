"""A phone: subscribes, refreshes, answers NOTIFYs, presses keys, and begins anew when its dialog is gone."""

import asyncio
import itertools
import random

from flow import TcpFlow, UdpFlow
from process import LOOPBACK, host_of
from record import Answered, Change, Dialog, Notify, Record

from sip import BODY_TYPE, Message, forwarding_body

SERIAL = itertools.count(1)
# of a request over UDP: RFC 3261 doubles 0.5 s up to 4 s; this phone gives up after 8 s instead of 32 s
RETRANSMIT_AFTER = (0.5, 1.0, 2.0, 4.0)
TIMEOUT = 8.0


class Phone:
    """One phone with at most one dialog at a time.

    `edges`: name -> port. It speaks with the edge `edge` until that does not answer.
    """

    def __init__(
        self,
        name: str,
        presentity: str,
        edges: dict[str, int],
        is_tcp: bool,
        rng: random.Random,
        record: Record,
        here: str = LOOPBACK,
    ):
        self.name, self.presentity, self.edges, self.rng, self.record = name, presentity, edges, rng, record
        self.here = here
        self.edge_at = {f"{host_of(port)}:{port}": edge for edge, port in edges.items()}
        self.edge = rng.choice(list(edges))
        self.follows = rng.random() < 0.5  # sends its next request to the edge that the last NOTIFY came from
        self.expires = rng.randrange(120, 300)
        self.flow: UdpFlow | TcpFlow = (TcpFlow if is_tcp else UdpFlow)(self.receive, self.connection_lost, here)
        self.dialog: Dialog | None = None
        self.tag, self.cseq, self.refresh_at, self.expires_at = "", 0, 0.0, 0.0
        self.waiting: dict[str, asyncio.Future[Message]] = {}
        self.said: dict[str, str] = {}  # branch of a NOTIFY -> what was answered
        self.shown: dict[str, int] = {}  # feature -> serial
        self.turn = asyncio.Lock()  # one request of a dialog at a time
        self.woken = asyncio.Event()

    # what comes

    def receive(self, message: Message) -> None:
        if message.status:
            waiting = self.waiting.get(message.branch)
            if waiting and not waiting.done() and message.status >= 200:
                waiting.set_result(message)
        elif message.method == "NOTIFY":
            if message.branch not in self.said:
                self.said[message.branch] = self.notified(message)
                while len(self.said) > 500:
                    del self.said[next(iter(self.said))]
            self.flow.answer(message, self.said[message.branch])

    def notified(self, message: Message) -> str:
        """Takes a NOTIFY that is no retransmission, and says what is answered."""
        dialog = self.dialog
        is_ours = dialog is not None and (message.header("Call-ID"), message.tag("To")) == (dialog.call_id, self.tag)
        if dialog is None or not is_ours or message.tag("From") != (dialog.remote_tag or message.tag("From")):
            self.record.stray_notifies += 1
            return message.answer(481, "Subscription does not exist")
        dialog.remote_tag = message.tag("From")
        sender = self.edge_at.get(message.sender, message.sender)
        is_terminated = message.header("Subscription-State").startswith("terminated")
        notify = Notify(
            self.record.now(), dialog, message.cseq, dialog.highest, sender, message.states(), is_terminated
        )
        self.record.notifies.append(notify)
        if not notify.is_taken:
            return message.answer(500, "CSeq is not above the last")
        dialog.highest = notify.cseq
        self.shown |= notify.states
        if self.follows and sender in self.edges and self.flow.has(self.edges[sender]):
            self.edge = sender
        if is_terminated:
            self.end(dialog, "terminated: " + message.header("Subscription-State"))
        return message.answer(200, "OK")

    def connection_lost(self, port: int) -> None:
        if self.dialog and self.edges[self.edge] == port:
            self.end(self.dialog, "connection lost")

    def end(self, dialog: Dialog, why: str) -> None:
        if dialog.ended_at is None:
            dialog.ended_at, dialog.end = self.record.now(), why
        if self.dialog is dialog:
            self.dialog = None
        self.woken.set()

    # what is sent

    async def ask(
        self, dialog: Dialog, edge: str, serial: int = 0, body: str = "", expires: int | None = None
    ) -> Message | None:
        """Sends a SUBSCRIBE of the dialog and waits for its final response."""
        self.cseq += 1
        branch = f"z9hG4bK{self.name}.{next(SERIAL)}"
        port, asked_at = self.edges[edge], self.record.now()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.waiting[branch] = answer
        message = None
        try:
            await self.flow.reach(port)
            text = self.subscribe_text(dialog, branch, body, self.expires if expires is None else expires)
            for wait in (TIMEOUT,) if self.flow.is_reliable else (*RETRANSMIT_AFTER, TIMEOUT - sum(RETRANSMIT_AFTER)):
                self.flow.send(port, text)
                done, _ = await asyncio.wait([answer], timeout=wait)
                if done:
                    message = answer.result()
                    break
        except (OSError, TimeoutError):
            pass  # no connection
        finally:
            del self.waiting[branch]
        status = message.status if message else 0
        if message is None:
            self.flow.drop(port)
        if message and status == 200:
            dialog.remote_tag = dialog.remote_tag or message.tag("To")
            granted = float(message.header("Expires") or self.expires)
            now = self.record.now()
            if dialog.began_at is None:
                dialog.began_at = now
            self.expires_at, self.refresh_at = now + granted, now + granted * self.rng.uniform(0.3, 0.7)
        self.record.answered.append(Answered(self.record.now(), asked_at, dialog, edge, status, serial))
        return message

    def subscribe_text(self, dialog: Dialog, branch: str, body: str, expires: int) -> str:
        transport, port = self.flow.name, self.flow.port or 5060
        remote = f";tag={dialog.remote_tag}" if dialog.remote_tag else ""
        lines = [
            f"SUBSCRIBE {self.presentity} SIP/2.0",
            f"Via: SIP/2.0/{transport} {self.here}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <{self.presentity}>;tag={self.tag}",
            f"To: <{self.presentity}>{remote}",
            f"Call-ID: {dialog.call_id}",
            f"CSeq: {self.cseq} SUBSCRIBE",
            f"Contact: <sip:{self.name}@{self.here}:{port};transport={transport.lower()}>",
            "Event: as-feature-event",
            f"Accept: {BODY_TYPE}, multipart/mixed",
            f"Expires: {expires}",
            *([f"Content-Type: {BODY_TYPE}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    # what it does

    async def live(self) -> None:
        """Keeps a subscription until it is cancelled."""
        await self.flow.open()
        await asyncio.sleep(self.rng.uniform(0, 2))
        while True:
            self.woken.clear()
            if self.dialog is None:
                async with self.turn:
                    await self.subscribe()
                continue
            wait = min(self.refresh_at, self.expires_at) - self.record.now()
            try:
                await asyncio.wait_for(self.woken.wait(), max(wait, 0.01))
            except TimeoutError:
                await self.refresh()

    async def subscribe(self) -> None:
        """Tries once to begin a dialog, and waits a little when that fails."""
        self.tag, self.cseq = f"t{next(SERIAL)}", 0
        call_id, is_reliable = f"{self.name}-{next(SERIAL)}@chaos", self.flow.is_reliable
        dialog = Dialog(self.name, self.presentity, call_id, self.record.now(), is_reliable=is_reliable)
        self.dialog = dialog
        self.record.dialogs.append(dialog)
        message = await self.ask(dialog, self.edge)
        if message is None or message.status != 200:
            self.end(dialog, f"refused: {message.status if message else 'no answer'}")
            if message is None or self.rng.random() < 0.5:
                self.change_edge()
            await asyncio.sleep(self.rng.uniform(0.5, 1.5))

    async def refresh(self) -> None:
        dialog = self.dialog
        if dialog is None:
            return
        if self.record.now() >= self.expires_at:
            self.end(dialog, "expired")
            return
        async with self.turn:
            if self.dialog is dialog:
                self.refresh_at = self.record.now() + 2  # when it is refused for now
                self.judge(dialog, self.edge, await self.ask(dialog, self.edge))

    async def unsubscribe(self) -> bool:
        """Ends its dialog; whether the edge took it."""
        async with self.turn:
            dialog = self.dialog
            message = await self.ask(dialog, self.edge, expires=0) if dialog else None
            is_taken = message is not None and message.status == 200
            if dialog and is_taken:
                self.record.unsubscribed[dialog.call_id] = self.record.now()
                await asyncio.sleep(0.5)  # its last NOTIFY
                self.end(dialog, "unsubscribed")
            return is_taken

    async def press(self, change: Change, edge: str | None = None) -> None:
        """Presses a key in the dialog, at this edge or at its own. Nothing is sent when there is no dialog."""
        async with self.turn:
            dialog = self.dialog
            if dialog is None or dialog.began_at is None:
                return
            edge = edge or self.edge
            change.asked_at = self.record.now()
            self.record.changes[change.serial] = change
            message = await self.ask(dialog, edge, change.serial, forwarding_body(change.key[1], change.serial))
            change.answered_at = self.record.now()
            change.said = f"{message.status if message else 'no answer'} from {edge}"
            if message and message.status >= 300:
                change.outcome = "error"
            self.judge(dialog, edge, message)
            if message and message.status == 200 and self.dialog is dialog:
                self.edge = edge

    def judge(self, dialog: Dialog, edge: str, message: Message | None) -> None:
        """What an answer in the dialog means for it."""
        if message is None:
            self.end(dialog, f"no answer from {edge}")
            self.change_edge()
        elif message.status in (481, 404, 410):
            self.end(dialog, f"{message.status} from {edge}")

    def change_edge(self) -> None:
        names = list(self.edges)
        self.edge = names[(names.index(self.edge) + 1) % len(names)]

    def forget(self) -> None:
        """Restarts: the old dialog is no longer known."""
        if self.dialog and not self.turn.locked():
            self.end(self.dialog, "phone restarted")
