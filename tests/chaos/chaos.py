#!/usr/bin/env python3
"""A ledger of promises over seeded faults: real processes on loopback, with phones and services that keep account.

    chaos.py [--binary PATH] [--row ROW]... [--seed N]... [--seconds 240] [--json OUT]
    chaos.py --binary OLD --newer NEW --row upgrade
    chaos.py [--binary PATH] --scene SCENE...

A scene is a fault that the ledger found, cut down to the steps that bring it about; it is judged by the same ledger.

The rows `upgrade` and `upgrade-any` run OLD, replace each process by NEW under load, and put each back: `make upgrade`.

A row is a kind of trouble (`--list` names them), a seed its schedule: the same seed gives the same faults at the same
times (`--schedule` prints it and runs nothing). Printed for each seed: promises made, kept, ended (the phone was told,
or gave up) and broken, the story of each broken one, NOTIFYs that said nothing new, and the time to recover by kind of
fault. Exit code 1 when any promise is broken. Needs nats-py in PYTHONPATH: `make tools` puts it into .tools/python;
`make chaos` and `make chaos-short` see to that.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import namespace
from ledger import Ledger
from report import as_json, judge, summary, text
from run import Plan, run
from scenes import SCENES, play
from schedule import ROWS, schedule
from stage import Programs

ROOT = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the dfks to run; without it the release build, else the debug build")
    parser.add_argument("--newer", help="the next version's, for the rows that replace one by the other")
    parser.add_argument("--row", action="append", choices=list(ROWS), help="one or more; without it all")
    parser.add_argument("--scene", action="append", choices=[*SCENES, "all"], help="a scene in place of a row")
    parser.add_argument("--seed", action="append", type=int, help="one or more; without it 1")
    parser.add_argument("--seconds", type=float, default=240, help="how long the load lasts")
    parser.add_argument("--phones", type=int, default=80)
    parser.add_argument("--presentities", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.12, help="seconds between two actions of the load")
    parser.add_argument("--stories", type=int, default=12, help="how many broken promises of a seed are told at length")
    parser.add_argument("--json", metavar="OUT", help="writes everything to this file, too")
    parser.add_argument("--keep", metavar="FOLDER", help="keeps logs and stores of the processes there")
    parser.add_argument("--log", default="info", help="log level of the processes")
    parser.add_argument("--list", action="store_true", help="names the rows and the scenes")
    parser.add_argument("--schedule", action="store_true", help="prints the schedules, and runs nothing")
    return parser.parse_args()


def program(given: str | None, *places: str) -> str:
    """The first of these that is there."""
    for place in (given, *places):
        if place and Path(place).is_file():
            return str(Path(place).resolve())
    sys.exit(f"none of these is there: {', '.join(filter(None, (given, *places)))}")


def programs(given: argparse.Namespace) -> Programs:
    binary = program(
        given.binary, *([] if given.binary else [f"{ROOT}/target/release/dfks", f"{ROOT}/target/debug/dfks"])
    )
    beside = os.environ.get("NATS_SERVER_BIN"), f"{ROOT}/.tools/bin/nats-server", shutil.which("nats-server")
    nats_server = program(None, *filter(None, beside))
    keep = Path(given.keep).resolve() if given.keep else None
    return Programs(binary, nats_server, given.log, keep, program(given.newer) if given.newer else "")


def rows(given: argparse.Namespace) -> list[str]:
    """Those that were asked for, else all that can be run."""
    if not given.newer and any(ROWS[name].replaces for name in given.row or []):
        sys.exit("a row that replaces one version by another needs --newer")
    if given.row:
        return given.row
    fitting = [name for name, row in ROWS.items() if bool(row.replaces) == bool(given.newer)]
    if namespace.is_allowed():
        return fitting
    print("network: not run, network namespaces cannot be made here", flush=True)
    return [name for name in fitting if not ROWS[name].shape.has_wires]


def runs(given: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Awaitable[Ledger]]]]:
    """Title, what it is about, and what runs and judges it."""
    what = programs(given)
    if given.scene:
        for name in SCENES if "all" in given.scene else given.scene:
            yield name, " ".join((SCENES[name].play.__doc__ or "").split()), partial(play, name, what)
        return

    async def judged(plan: Plan) -> Ledger:
        return judge(await run(plan, what))

    for row in given.row:
        for seed in given.seed or [1]:
            plan = Plan(row, seed, given.seconds, given.phones, given.presentities, given.pause)
            yield f"{row}, seed {seed}", ROWS[row].about, partial(judged, plan)


def write(path: str, results: list[dict[str, Any]]) -> None:
    Path(path).write_text(json.dumps(results, indent=1), encoding="utf-8")


async def run_all(given: argparse.Namespace) -> int:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, this.cancel)
    results: list[dict[str, Any]] = []
    for title, about, run_it in runs(given):
        began = time.monotonic()
        print(f"{title}: {about}", flush=True)
        ledger = await run_it()
        print(text(ledger, given.stories), flush=True)
        results.append({"run": title, "took": time.monotonic() - began} | as_json(ledger))
        if given.json:
            write(given.json, results)
    print(f"\n{summary(results)}")
    return int(any(result["broken"] for result in results))


def main() -> int:
    given = arguments()
    if given.list:
        print("\n".join(f"{name:24} {row.about}" for name, row in ROWS.items()))
        for name, scene in SCENES.items():
            print(f"scene {name:24} {' '.join((scene.play.__doc__ or '').split())}")
        return 0
    if given.schedule:
        for name in given.row or ROWS:
            for seed in given.seed or [1]:
                print(f"{name}, seed {seed}")
                print("\n".join(map(str, schedule(ROWS[name], seed, given.seconds))))
        return 0
    if not given.scene:
        given.row = rows(given)
        if any(ROWS[name].shape.has_wires for name in given.row):
            namespace.enter()
    try:
        return asyncio.run(run_all(given))
    except asyncio.CancelledError:
        return 130


sys.exit(main())
