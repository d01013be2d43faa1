#!/usr/bin/env python3
"""Builds each deliberately broken variant of mutants.toml and has the simulation find it.

A variant that the simulation does not find within the seeds is a hole in the invariants or in the faults: the exit
code says so. The unbroken program runs over the same seeds first, and must hold.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "target" / "mutants"
SOURCES = ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "src", "tests", "bench", "schemas", "docs", "examples")


def copy_sources(into: Path) -> None:
    """Copies what is needed to build. What differs has a new time: cargo looks at nothing else."""
    for name in SOURCES:
        source, target = ROOT / name, into / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, copy_function=copy_if_different)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_if_different(str(source), str(target))


def copy_if_different(source: str, target: str) -> None:
    text = Path(source).read_bytes()
    if not Path(target).exists() or Path(target).read_bytes() != text:
        Path(target).write_bytes(text)
        shutil.copymode(source, target)


def broken(text: str, mutant: dict) -> str:
    """The text of a file with the mutation in it."""
    find = mutant["find"]
    if text.count(find) != 1:
        raise SystemExit(f"{mutant['name']}: what it looks for stands {text.count(find)} times in {mutant['file']}")
    return text.replace(find, mutant["put"])


def build(tree: Path) -> Path:
    environment = {**os.environ, "CARGO_TARGET_DIR": str(PLACE / "target")}
    # not optimised: built twelve times, and most variants are found within a few seeds
    command = ["cargo", "build", "--quiet", "--locked", "--features=simulate", "--bin=simulate"]
    # a mutant leaves unused what the product uses: its warnings say nothing
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"it cannot be built:\n{done.stderr}")
    return PLACE / "target" / "debug" / "simulate"


def run(program: Path, args: argparse.Namespace) -> tuple[bool, str]:
    """Whether every promise was kept, and what was said."""
    command = [str(program), args.seeds, "--minutes", str(args.minutes), "--jobs", str(args.jobs), "--until-broken"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"the simulation itself has failed:\n{done.stderr}")
    return done.returncode == 0, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1..60")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", help="only these mutants")
    args = parser.parse_args()
    with (ROOT / "tests" / "simulate" / "mutants.toml").open("rb") as file:
        mutants = tomllib.load(file)["mutant"]
    mutants = [mutant for mutant in mutants if not args.names or mutant["name"] in args.names]
    tree = PLACE / "tree"
    copy_sources(tree)
    for mutant in mutants:
        # a run that was stopped may have left it broken, and built
        (tree / mutant["file"]).touch()
    holds, said = run(build(tree), args)
    if not holds:
        print(f"the unbroken program does not hold over seeds {args.seeds}:\n{said}")
        return 1
    missed = []
    for mutant in mutants:
        path = tree / mutant["file"]
        unbroken = path.read_text()
        path.write_text(broken(unbroken, mutant))
        try:
            program = build(tree)
            started = time.monotonic()
            holds, said = run(program, args)
        finally:
            path.write_text(unbroken)
        took = time.monotonic() - started
        first = [line.strip() for line in said.splitlines() if line.startswith(("seed ", "  "))][:2]
        print(f"{mutant['name']}: {'NOT FOUND' if holds else 'found'} in {took:.0f} s; {' | '.join(first)}", flush=True)
        if holds:
            missed.append(mutant["name"])
    print(f"{len(mutants) - len(missed)} of {len(mutants)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
