"""Writes inputs to begin with for each fuzz target: fuzz/seeds.py FOLDER."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CSTA = 'xmlns="http://www.ecma-international.org/standards/ecma-323/csta/ed3"'
BODIES = [
    f"<SetDoNotDisturb {CSTA}><device>alice</device><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>",
    f'<?xml version="1.0" encoding="ISO-8859-1"?><SetForwarding {CSTA}><device/>'
    "<forwardingType>forwardNoAns</forwardingType><activateForward>1</activateForward>"
    "<forwardDN>sip:bob&amp;co@10.0.0.11</forwardDN><ringCount>4</ringCount></SetForwarding>",
    '<c:SetForwarding xmlns:c="http://www.ecma-international.org/standards/ecma-323/csta/ed4">'
    "<c:forwardingType>forwardBusy</c:forwardingType><c:activateForward>FALSE</c:activateForward>"
    "<c:forwardDN><![CDATA[tel:+31]]></c:forwardDN></c:SetForwarding>",
    f"<SetAgentState {CSTA}><device/><requestedAgentState>notReady</requestedAgentState>"
    "<extensions><privateData><private>"
    '<AgentNotReadyReasonValue xmlns="http://schema.broadsoft.com/CSTAPrivateData">7</AgentNotReadyReasonValue>'
    "</private></privateData></extensions></SetAgentState>",
    f"<ForwardingEvent {CSTA}><device>alice</device><forwardingType>forwardImmediate</forwardingType>"
    "<forwardStatus>true</forwardStatus><forwardTo>sip:bob@10.0.0.11</forwardTo></ForwardingEvent>",
]
DIGEST = (
    'Digest username="alice", realm="example.com", nonce="' + "0" * 56 + '", uri="sip:alice@example.com", '
    'response="6629fae49393a05397450978507c4ef1", algorithm=SHA-256, qop=auth, nc=0000000a, cnonce="x"'
)


def request(method: str = "SUBSCRIBE", more: str = "", body: str = "", to_tag: str = "", cseq: int = 1) -> str:
    kind = "Content-Type: application/x-as-feature-event+xml\r\n" if body else ""
    return (
        f"{method} sip:alice@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{cseq}{len(more)};rport\r\n"
        "Max-Forwards: 70\r\n"
        'From: "Al \\"ice" <sip:alice@example.com>;tag=f\r\n'
        f"To: <sip:alice@example.com>{to_tag}\r\n"
        "Call-ID: c1\r\n"
        f"CSeq: {cseq} {method}\r\n"
        'Contact: <sip:alice@192.0.2.9:5060;ob>;+sip.instance="<urn:uuid:1>"\r\n'
        "Event: as-feature-event;id=1\r\n"
        "Expires: 3600\r\n"
        "Accept: application/x-as-feature-event+xml, multipart/mixed;q=0.5\r\n"
        f"{more}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )


def response(status: str) -> str:
    return (
        f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=%B\r\nFrom: <sip:alice@example.com>;tag=%T\r\n"
        "To: <sip:alice@example.com>;tag=f\r\nCall-ID: c1\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n"
    )


def steps(*all_steps: tuple[int, str]) -> bytes:
    return b"".join(bytes([kind]) + len(data.encode()).to_bytes(2, "big") + data.encode() for kind, data in all_steps)


def main() -> None:
    folder = Path(sys.argv[1])
    messages = [
        request(),
        request(more="Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRequire: x\r\n"),
        request("OPTIONS"),
        response("200 OK"),
    ]
    messages += [request(body=body) for body in BODIES] + [request(more=f"Authorization: {DIGEST}\r\n")]
    compact = (
        request()
        .replace("Via:", "v :")
        .replace("From:", "f:")
        .replace("Call-ID:", "i:")
        .replace("Contact:", "m:")
        .replace("\r\nExpires", "\r\n  \t;x=1\r\nExpires")
    )
    job = (ROOT / "schemas/examples/notify_job/valid-from-mi.json").read_text()
    seeds = {
        "sip_message": [*messages, compact],
        "sip_framing": [chr(7) + "".join(messages[:3]), chr(3) + "\r\n\r\n" + messages[0] + "\r\n\r\n"],
        "csta_body": BODIES,
        "digest_header": [
            DIGEST,
            DIGEST.replace(', qop=auth, nc=0000000a, cnonce="x"', ""),
            "alice:example.com:" + "5a" * 16,
        ],
        "bus_message": [path.read_text() for path in sorted((ROOT / "schemas/examples").glob("*/*.json"))]
        + ["sip:%61lice@EXAMPLE.com:5070;transport=tcp", "tel:+31-20"],
        "notifier": [
            steps(
                (0, request()),
                (4, ""),
                (4, ""),
                (0, response("200 OK")),
                (0, request(to_tag=";tag=%T", cseq=2, body=BODIES[0])),
                (4, ""),
                (4, ""),
                (7, "\x20"),
            ),
            steps(
                (3, request()),
                (4, ""),
                (4, ""),
                (10, "\x01"),
                (10, "\x00"),
                (3, request(to_tag=";tag=%T", cseq=2)),
                (4, ""),
                (0, response("481 Gone")),
            ),
            steps(
                (0, request()),
                (4, ""),
                (6, "{}"),
                (8, job),
                (9, ""),
                (0, response("503 Busy")),
                (11, "\x00"),
                (7, "\xff"),
            ),
            steps((0, request()), (4, "-"), (0, request("NOTIFY")), (0, request(more="Max-Forwards: 0\r\n"))),
        ],
    }
    for target, inputs in seeds.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for at, data in enumerate(inputs):
            (folder / target / f"seed-{at}").write_bytes(data if isinstance(data, bytes) else data.encode())


if __name__ == "__main__":
    main()
