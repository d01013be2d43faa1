"""Where processor time and messages of one call go: where.py [--binary FILE] [--seconds 6]. Prints, judges nothing."""

import argparse
import collections
import json
import re
import time
from pathlib import Path

import sipp
from load import RATE, TRANSACTIONS
from process import ROOT, Process, cpu_of, free_port, http_get, wait_until
from server import NATS_SERVER, Role, Server, running

DIGITS = re.compile(r"[-_ ]?\d+$")


class Watched(Server):
    """All roles in one process beside a nats-server that counts its messages."""

    title = "dfks, one process"

    def __init__(self, work: Path, binary: Path) -> None:
        super().__init__(work)
        self.nats_port, self.monitor = free_port(), free_port()
        self.edge = Role(self, binary, "all", f'url = "nats://127.0.0.1:{self.nats_port}"')

    def start(self) -> None:
        command = [NATS_SERVER, "-a", "127.0.0.1", "-p", str(self.nats_port), "-m", str(self.monitor), "-js"]
        self.nats = Process([*command, "-sd", str(self.work / "js")], self.work / "nats.log")
        self.processes.append(self.nats)
        wait_until(lambda: self.varz() is not None, 10, "nats-server answers")
        self.edge.start()
        self.edge.ready()

    def varz(self) -> dict | None:
        status, text = http_get(f"http://127.0.0.1:{self.monitor}/varz")
        return json.loads(text) if status == 200 else None

    def seconds(self) -> collections.Counter[str]:
        """Processor time so far, by kind of thread; the nats-server is one kind."""
        spent: collections.Counter[str] = collections.Counter()
        for task in Path(f"/proc/{self.edge.process.child.pid}/task").iterdir():
            name = DIGITS.sub("", (task / "comm").read_text().strip())
            spent[name] += cpu_of((task / "stat").read_text())
        spent["nats-server"] = self.nats.cpu()
        return spent


def measured(binary: Path, name: str, rate: int, seconds: int, parts: int) -> None:
    with running(Watched, binary) as server:
        time.sleep(1)
        spent, varz = server.seconds(), server.varz()
        load = sipp.call(server.address, name, rate, rate * seconds, False)
        time.sleep(0.5)
        spent_after, varz_after = server.seconds(), server.varz()
    calls = max(load.done, 1) * parts
    print(f"{name}: {rate}/s, {load.done} calls of {parts}, {load.failed} failed")
    for thread, _ in spent_after.most_common():
        each = 1e6 * (spent_after[thread] - spent[thread]) / calls
        if each >= 1:
            print(f"  {each:6.0f} µs  {thread}")
    print(f"  {1e6 * (spent_after.total() - spent.total()) / calls:6.0f} µs  in all")
    for way, key in (("into", "in_msgs"), ("out of", "out_msgs")):
        print(f"  {(varz_after[key] - varz[key]) / calls:6.2f} messages {way} NATS")


def main() -> None:
    parser = argparse.ArgumentParser(description="Where processor time and messages of one call go.")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/dfks")
    parser.add_argument("--seconds", type=int, default=6)
    given = parser.parse_args()
    measured(given.binary.resolve(), "subscribe", RATE["a"], given.seconds, 1)
    measured(given.binary.resolve(), "press", RATE["b"], given.seconds, TRANSACTIONS)


if __name__ == "__main__":
    main()
