"""The table: on the terminal, and as bench/RESULTS.md. Rows measured at another time stay in it, with their time."""

import dataclasses
import json
import os
import platform
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from goal import TARGETS, Measured, Target, number
from process import ROOT
from server import NATS_SERVER
from statistic import Spread, ratios

KEPT = ROOT / "target/bench"
RESULTS = ROOT / "bench/RESULTS.md"
WHY = ROOT / "bench/why.toml"
HEAD = ["work", "dfks", "beside it", "ratio", "target", "met", "failed", "runs"]


def output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def commit() -> str:
    """The commit that is measured, `+` behind it when files of it were changed."""
    is_changed = output("git", "status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml", "Cargo.lock")
    return output("git", "rev-parse", "--short", "HEAD") + ("+" if is_changed else "")


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release()}"


def peers() -> str:
    kamailio = output("kamailio", "-v").partition("\n")[0].removeprefix("version: ")
    sipp = output("sipp", "-v").strip().partition("\n")[0].strip(". ")
    return ", ".join(one for one in (kamailio, output(NATS_SERVER, "--version"), sipp) if one)


def keep(key: str, measured: Measured) -> None:
    """Writes down what came out, for this report and later ones."""
    KEPT.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    about = {"at": now, "commit": commit(), "machine": machine(), "peers": peers()}
    kept = dataclasses.asdict(measured) | about
    (KEPT / f"{key}.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


def kept() -> dict[str, dict]:
    return {key: json.loads((KEPT / f"{key}.json").read_text()) for key in TARGETS if (KEPT / f"{key}.json").exists()}


def measured_of(one: dict) -> Measured:
    return Measured(**{field.name: one[field.name] for field in dataclasses.fields(Measured)})


def shown(spread: Spread | None, unit: str) -> str:
    """Median, and from the least to the greatest where there are several."""
    if spread is None:
        return ""
    text = f"{number(spread.median)} {unit}".strip()
    if spread.least == spread.greatest:
        return text
    return f"{text} ({number(spread.least)} to {number(spread.greatest)})"


def line(target: Target, measured: Measured) -> list[str]:
    theirs = shown(Spread.of(measured.theirs), target.unit)
    each = Spread.of(ratios(measured.ours, measured.theirs)) if measured.theirs else None
    return [
        target.work,
        shown(Spread.of(measured.ours), target.unit),
        f"{target.beside}: {theirs}" if theirs else "",
        shown(each, "x"),
        target.text(),
        "yes" if target.is_met(measured) else "**no**",
        str(measured.failed),
        str(len(measured.ours)),
    ]


def markdown(found: dict[str, dict], why: dict[str, str]) -> str:
    """The page. What is the same for all rows stands once above the table, the rest below it."""
    of_all = {name: {one[name] for one in found.values()} for name in ("commit", "machine", "peers")}
    text = ["# What it costs", ""]
    text += [
        "`make bench` wrote this. Ours stand beside figures of the same minutes: medians, extremes in brackets.",
        "",
    ]
    times = sorted(one["at"] for one in found.values())
    text.append(f"- date: {times[0]} to {times[-1]} UTC")
    text += [f"- {name}: {'; '.join(sorted(values))}" for name, values in of_all.items()]
    text += ["", f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    text += [f"| {' | '.join(line(TARGETS[key], measured_of(one)))} |" for key, one in found.items()]
    missing = [target.work for key, target in TARGETS.items() if key not in found]
    text += ["", f"Not measured: {'; '.join(missing)}."] if missing else []
    notes = [f"- {TARGETS[key].work}: {one['note']}." for key, one in found.items() if one["note"]]
    text += ["", "## Notes", "", *notes] if notes else []
    missed = [key for key, one in found.items() if not TARGETS[key].is_met(measured_of(one))]
    text += ["", "## Missed, and why", ""] if missed else []
    text += [f"- {TARGETS[key].work}: {why.get(key, 'not looked into yet.')}" for key in missed]
    parts = {(one["commit"], one["at"][:13]) for one in found.values()}
    if len(of_all["commit"]) > 1 or len(parts) > 2:
        text += [
            "",
            "## When",
            "",
            *(f"- {TARGETS[key].work}: {one['at']}, {one['commit']}" for key, one in found.items()),
        ]
    return "\n".join(text) + "\n"


def write() -> None:
    why = tomllib.loads(WHY.read_text(encoding="utf-8")) if WHY.exists() else {}
    RESULTS.write_text(markdown(kept(), why), encoding="utf-8")


def table(keys: list[str]) -> str:
    """The rows just measured, for the terminal."""
    found = kept()
    rows = [HEAD, *(line(TARGETS[key], measured_of(found[key])) for key in keys)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
