"""Counts the instructions of pieces of work with valgrind, and compares with those kept: count.py PROGRAM [--write].

Each piece is done a few times and many times: the difference is what one takes, whatever it took to get ready. The kept
counts are in bench/instructions.toml, by processor architecture, with what else they depend on: compiler, C library and
valgrind. It fails when a piece takes more than 3 % more; where it was counted with others it says so, and nothing is
judged.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KEPT = Path(__file__).resolve().parent / "instructions.toml"
HEAD = """\
# Instructions of each piece of work of bench/instructions: `make bench-instructions` fails at more than 3 % more.
# A change that is worth more of them writes them anew, with `make bench-instructions WRITE=1`.
"""
WORKS = [
    *(
        "sip-parse",
        "sip-write",
        "csta-read",
        "csta-write",
        "script-get",
        "script-set",
        "record-encode",
        "record-decode",
    ),
    *("notifier-subscribe", "notifier-press", "notifier-job"),
]
FEW, MANY = 100, 1100
TOLERANCE = 0.03
WITH = "with"
TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def total(callgrind: str) -> int:
    """All instructions of a run, of what callgrind wrote."""
    found = TOTAL.findall(callgrind)
    if not found:
        raise ValueError("callgrind wrote no total")
    return max(map(int, found))


def counted(program: str, work: str, times: int) -> int:
    with tempfile.TemporaryDirectory(prefix="dfks-count-") as folder:
        out = Path(folder, "out")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, work, str(times)]
        # an environment of its own: its size moves the stack
        done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{work}: {done.stderr[-2000:]}")
        return total(out.read_text())


def tools() -> str:
    """What a count depends on beside the code."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"rustc {rustc}, {' '.join(platform.libc_ver())}, {valgrind}"


def each(few: int, many: int) -> int:
    return round((many - few) / (MANY - FEW))


def judge(kept: dict[str, int | str], now: dict[str, int]) -> tuple[list[str], bool]:
    """A line for each piece, and whether none takes too much more."""
    lines, is_good = [], True
    for work, count in now.items():
        before = int(kept.get(work, 0))
        change = f"{100 * (count / before - 1):+.1f} %" if before else "new"
        is_more = not before or count > before * (1 + TOLERANCE)
        is_less = before > 0 and count < before * (1 - TOLERANCE)
        remark = "  too many" if is_more else "  fewer: worth writing down" if is_less else ""
        lines.append(f"{work:20} {count:>9,}  {change:>8}{remark}")
        is_good = is_good and not is_more
    return lines, is_good


def written(kept: dict[str, dict[str, int | str]]) -> str:
    def line(name: str, value: int | str) -> str:
        return f'{name} = "{value}"\n' if isinstance(value, str) else f"{name} = {value}\n"

    tables = (
        f"\n[{machine}]\n" + "".join(line(name, value) for name, value in kept[machine].items())
        for machine in sorted(kept)
    )
    return HEAD + "".join(tables)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            (work, times): pool.submit(counted, given.program, work, times) for work in WORKS for times in (FEW, MANY)
        }
        now = {work: each(runs[work, FEW].result(), runs[work, MANY].result()) for work in WORKS}
    machine = platform.machine()
    kept = tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}
    if not given.write and machine not in kept:
        print(f"bench/instructions.toml has no counts of {machine}: not compared")
    known, here = kept.get(machine, now), tools()
    lines, is_good = judge(known, now)
    print("\n".join(lines))
    if given.write:
        KEPT.write_text(written(kept | {machine: {WITH: here, **now}}))
        return 0
    there = known.get(WITH, here)
    if there != here:
        print(f"counted with {here}; those of bench/instructions.toml with {there}: nothing is judged")
        return 0
    if not is_good:
        print("more instructions than bench/instructions.toml allows: make bench-instructions WRITE=1 if that is meant")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
