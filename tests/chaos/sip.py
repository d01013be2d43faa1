"""As much SIP as a phone needs: what it sends, and what it reads of what comes."""

import re
from dataclasses import dataclass

NAMESPACE = "http://www.ecma-international.org/standards/ecma-323/csta/ed3"
BODY_TYPE = "application/x-as-feature-event+xml"
FORWARDING = {
    "CallForwardingAlways": "forwardImmediate",
    "CallForwardingBusy": "forwardBusy",
    "CallForwardingNoAnswer": "forwardNoAns",
}
FEATURE_OF = {word: feature for feature, word in FORWARDING.items()}
EVENT = re.compile(r"<ForwardingEvent\b.*?</ForwardingEvent>", re.DOTALL)
COPIED = ("Via", "From", "To", "Call-ID", "CSeq")


def forwarding_body(feature: str, target: int) -> str:
    """A key press: the forward is switched on, to this target."""
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?><SetForwarding xmlns="{NAMESPACE}"><device></device>'
        f"<forwardingType>{FORWARDING[feature]}</forwardingType><activateForward>true</activateForward>"
        f"<forwardDN>{target}</forwardDN><ringCount></ringCount></SetForwarding>"
    )


def element(xml: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return found[1].strip() if found else ""


def target_of(text: str) -> int:
    """The serial of a change in a forwarding target; 0 where none was set yet."""
    return int(text) if text.isdecimal() else 0


@dataclass
class Message:
    """A request or response that came."""

    text: str
    body: str
    status: int  # 0: a request
    method: str
    sender: str  # host:port

    def header(self, name: str) -> str:
        found = re.search(rf"^{name}[ \t]*:[ \t]*(.*?)\r?$", self.text, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    def tag(self, name: str) -> str:
        found = re.search(r";tag=([^;\s>]+)", self.header(name))
        return found[1] if found else ""

    @property
    def branch(self) -> str:
        found = re.search(r";branch=([^;,\s]+)", self.header("Via"))
        return found[1] if found else ""

    @property
    def cseq(self) -> int:
        return int(self.header("CSeq").split()[0])

    def states(self) -> dict[str, int]:
        """Each feature that the body tells, with the serial of its state."""
        told = {}
        for event in EVENT.findall(self.body):
            feature = FEATURE_OF.get(element(event, "forwardingType"))
            if feature:
                told[feature] = target_of(element(event, "forwardTo"))
        return told

    def answer(self, status: int, reason: str) -> str:
        copied = "".join(f"{name}: {self.header(name)}\r\n" for name in COPIED)
        return f"SIP/2.0 {status} {reason}\r\n{copied}Content-Length: 0\r\n\r\n"


def parse(data: bytes, sender: str) -> Message | None:
    text = data.decode("latin-1")
    head, _, body = text.partition("\r\n\r\n")
    first = head.split("\r\n", 1)[0].split(" ")
    if len(first) < 3:
        return None
    if first[0] == "SIP/2.0":
        return Message(head, body, int(first[1]), "", sender)
    return Message(head, body, 0, first[0], sender)


class Framer:
    """Takes messages out of a TCP stream."""

    def __init__(self) -> None:
        self.buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        self.buffer += data
        whole: list[bytes] = []
        while True:
            self.buffer = self.buffer.lstrip(b"\r\n")
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return whole
            length = re.search(rb"^(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", head, re.MULTILINE | re.IGNORECASE)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return whole
            whole.append(head + found + rest[:size])
            self.buffer = rest[size:]
