"""Measures a release build beside the yardstick: bench.py [--rows "a-cpu mi-set"] [--pairs 5] [--short]."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import command
import first
import hold
import load
import report
import web
from goal import Measured
from process import ROOT, BenchError

Row = Callable[[Path, int, int], dict[str, Measured]]


@dataclass(frozen=True)
class Kind:
    """A row that can be asked for: it makes one line of the table, or several."""

    measure: Row
    seconds: int  # of one run
    short_seconds: int = 0  # in the smoke test; 0 = not in it


ROWS = {
    "a-cpu": Kind(load.a_cpu, 6, 2),
    "b-cpu": Kind(load.b_cpu, 6, 2),
    "set-notify": Kind(command.set_notify, 4, 1),
    "mi-set": Kind(command.mi_set, 3, 1),
    "http-read": Kind(web.http_read, 3, 1),
    "watchers": Kind(command.watchers, 20, 3),
    "fill": Kind(hold.fifty_thousand, 25),
    "stored": Kind(hold.stored, 10),
    "a-highest": Kind(load.a_highest, 20),
    "million": Kind(hold.million, 10),
    "first": Kind(first.first, 1),
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures a release build beside the yardstick.")
    parser.add_argument("--rows", default="", help="of: " + " ".join(ROWS))
    parser.add_argument("--pairs", type=int, default=5, help="repetitions of the rows that are not long")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/dfks")
    parser.add_argument("--short", action="store_true", help="a smoke test: it runs and prints, and judges nothing")
    given = parser.parse_args()
    given.rows = given.rows.split() or [name for name, kind in ROWS.items() if kind.short_seconds or not given.short]
    if unknown := [name for name in given.rows if name not in ROWS]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return given


def main() -> int:
    given, keys, missed = parsed(), [], []
    if given.short:
        given.pairs, report.KEPT = 1, ROOT / "target/bench-short"
        load.RATE = {"a": 200, "b": 5}
        print("a smoke test: at low rates, and no figure of it is a result")
    for name in given.rows:
        kind = ROWS[name]
        print(f"{name}", flush=True)
        try:
            seconds = kind.short_seconds or kind.seconds if given.short else kind.seconds
            found = kind.measure(given.binary.resolve(), given.pairs, seconds)
        except (BenchError, OSError) as error:
            missed.append(f"{name}: {error}")
            print(f"  not measured: {error}", flush=True)
            continue
        for key, measured in found.items():
            report.keep(key, measured)
            keys.append(key)
        if not given.short:
            report.write()
    print(f"\n{report.machine()}, commit {report.commit()}\n{report.peers()}\n\n{report.table(keys)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
