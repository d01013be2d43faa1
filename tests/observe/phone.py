"""Phones for the observed run.

Enough SIP over UDP to subscribe, press keys, and answer NOTIFYs well, badly, late or not at all.
"""

import asyncio
import hashlib
import itertools
import re

SERIAL = itertools.count(1)
CSTA = "http://www.ecma-international.org/standards/ecma-323/csta/ed3"
DND = (
    f'<?xml version="1.0" encoding="ISO-8859-1"?><SetDoNotDisturb xmlns="{CSTA}"><device></device>'
    "<doNotDisturbOn>{on}</doNotDisturbOn></SetDoNotDisturb>"
)


def header(message, name):
    found = re.search(rf"^{name}:[ \t]*(.*?)\r?$", message, re.M | re.I)
    return found[1] if found else ""


class Phone(asyncio.DatagramProtocol):
    """One phone on a socket of its own.

    `answers`: status of its responses to NOTIFYs, 0 = never; `after`: seconds until then.
    """

    def __init__(self, server, presentity, answers=200, after=0.0, user=None, password="", event="as-feature-event"):
        self.server, self.presentity, self.answers, self.after = server, presentity, answers, after
        self.user, self.password, self.event = user, password, event
        self.forget()
        self.waiting, self.notifies, self.transport = {}, 0, None

    def forget(self):
        """The next request is the first of a new dialog."""
        self.call_id, self.tag, self.to_tag, self.cseq = f"observed-{next(SERIAL)}", f"t{next(SERIAL)}", "", 0

    async def open(self, source="127.0.0.1"):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(source, 0), remote_addr=self.server
        )
        return self

    def datagram_received(self, data, _addr):
        text = data.decode("latin-1")
        if text.startswith("SIP/2.0"):
            waiting = self.waiting.pop(header(text, "CSeq").split()[0], None)
            if waiting and not waiting.done():
                waiting.set_result((int(text.split()[1]), text))
        elif text.startswith("NOTIFY"):
            self.notifies += 1
            if self.answers:
                asyncio.get_running_loop().call_later(self.after, self.answer, text)

    def error_received(self, _error):
        pass

    def answer(self, notify):
        copied = "".join(f"{name}: {header(notify, name)}\r\n" for name in ("Via", "From", "To", "Call-ID", "CSeq"))
        if not self.transport.is_closing():
            self.transport.sendto(f"SIP/2.0 {self.answers} Answer\r\n{copied}Content-Length: 0\r\n\r\n".encode())

    def request(self, method="SUBSCRIBE", body="", expires=3600, authorization=""):
        """Sends a request; what comes back is in the future."""
        self.cseq += 1
        host, port = self.transport.get_extra_info("sockname")
        lines = [
            f"{method} {self.presentity} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self.call_id}{self.cseq};rport",
            "Max-Forwards: 70",
            f"From: <{self.presentity}>;tag={self.tag}",
            f"To: <{self.presentity}>{self.to_tag and ';tag=' + self.to_tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:observed@{host}:{port}>",
            f"Event: {self.event}",
            "Accept: application/x-as-feature-event+xml, multipart/mixed",
            f"Expires: {expires}",
            *([f"Authorization: {authorization}"] if authorization else []),
            *(["Content-Type: application/x-as-feature-event+xml"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.waiting[str(self.cseq)] = answered = asyncio.get_running_loop().create_future()
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return answered

    async def send(self, **request):
        """Sends a request and waits for its status; 0 when none came."""
        try:
            status, text = await asyncio.wait_for(self.request(**request), 5)
        except TimeoutError:
            return 0
        if status == 401 and self.user and "authorization" not in request:
            return await self.send(**request, authorization=self.digest(text))
        found = re.search(r"tag=([^;\s]+)", header(text, "To"))
        if status == 200 and found:
            self.to_tag = found[1]
        return status

    async def subscribe(self):
        """Subscribes, and again when that got lost on a busy machine."""
        for _ in range(6):
            status = await self.send()
            if status == 200:
                return
            self.forget()
        raise TimeoutError(f"{self.presentity} cannot subscribe: {status}")

    def press(self, on):
        return self.send(body=DND.format(on="true" if on else "false"))

    def digest(self, challenge):
        text = next(
            line
            for line in challenge.splitlines()
            if line.lower().startswith("www-authenticate") and ("MD5" in line or "algorithm" not in line)
        )
        realm, nonce = (re.search(rf'{name}="([^"]*)"', text)[1] for name in ("realm", "nonce"))
        ha1, ha2 = md5(f"{self.user}:{realm}:{self.password}"), md5(f"SUBSCRIBE:{self.presentity}")
        response = md5(f"{ha1}:{nonce}:00000001:c:auth:{ha2}")
        return (
            f'Digest username="{self.user}", realm="{realm}", nonce="{nonce}", uri="{self.presentity}", '
            f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"'
        )


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


async def hung_up_phone(server, presentity):
    """A phone over TCP that subscribes, confirms its first NOTIFYs, and hangs up."""
    reader, writer = await asyncio.open_connection(*server)
    host, port = writer.get_extra_info("sockname")
    serial = next(SERIAL)
    text = (
        f"SUBSCRIBE {presentity} SIP/2.0\r\n"
        f"Via: SIP/2.0/TCP {host}:{port};branch=z9hG4bKtcp{serial}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <{presentity}>;tag=tcp{serial}\r\n"
        f"To: <{presentity}>\r\n"
        f"Call-ID: tcp-{serial}\r\n"
        "CSeq: 1 SUBSCRIBE\r\n"
        f"Contact: <sip:tcp@{host}:{port};transport=tcp>\r\n"
        "Event: as-feature-event\r\n"
        "Expires: 600\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    writer.write(text.encode())
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    await asyncio.sleep(0.2)
    writer.close()
