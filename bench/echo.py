"""The other end of a NATS round trip: echo.py PORT SUBJECT sends each request's payload back."""

import sys

from natswire import Nats


def main() -> None:
    nats = Nats(int(sys.argv[1]))
    nats.socket.settimeout(None)
    nats.socket.sendall(f"SUB {sys.argv[2]} 2\r\n".encode())
    while True:
        for message in nats.receive():
            head = f"PUB {message.reply} {len(message.payload)}\r\n".encode()
            nats.socket.sendall(head + message.payload + b"\r\n")


if __name__ == "__main__":
    main()
