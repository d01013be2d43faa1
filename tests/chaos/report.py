"""What a run comes to: promises made, kept and broken, doubled NOTIFYs, times to recover."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

import checks_command
import checks_dialog
import checks_ended
import checks_told
import checks_upgrade
from ledger import Broken, Ledger
from record import Record
from story import story


def judge(record: Record) -> Ledger:
    """The ledger of a run that is over."""
    ledger = Ledger(record)
    for part in (checks_told, checks_dialog, checks_command, checks_ended, checks_upgrade):
        part.check(ledger)
    ledger.broken.sort(key=lambda broken: (broken.at, broken.promise))
    ledger.close()
    return ledger


def text(ledger: Ledger, stories: int) -> str:
    """The ledger for people: the table, then the stories."""
    record, broken = ledger.record, Counter(it.promise for it in ledger.broken)
    kept = ledger.total - len(ledger.broken) - ledger.void.total()
    lines = [f"  {'promise':32} {'made':>7} {'kept':>7} {'ended':>6} {'broken':>6}"]
    for name, made in sorted(ledger.made.items()):
        void, bad = ledger.void[name], broken[name]
        lines.append(f"  {name:32} {made:7} {made - bad - void:7} {void:6} {bad:6}")
    lines.append(f"  {'all':32} {ledger.total:7} {kept:7} {ledger.void.total():6} {len(ledger.broken):6}")
    lines.append(
        f"  NOTIFYs {len(record.notifies)}, doubled {ledger.doubled}, on their way when the phone moved "
        f"{ledger.late_of_former}, answered 481 {record.stray_notifies}; "
        f"this harness ran late by {sum(late for _, late in record.lags):.1f} s in all"
    )
    if ledger.put_back:
        lines.append(f"  older states shown for a moment by edges that were put back: {ledger.put_back}")
    ends = Counter(dialog.end for dialog in record.dialogs if dialog.ended_at and dialog.ended_at <= record.settled_at)
    told = ", ".join(f"{count} {end}" for end, count in ends.most_common(8))
    lines.append(f"  dialogs {len(record.dialogs)}" + (f", ended: {told}" if told else ""))
    for name, seconds in sorted(ledger.recoveries.items()):
        usually, worst = statistics.median(seconds), max(seconds)
        lines.append(f"  {name:24} {len(seconds):3} times, recovered after {usually:.1f} s, {worst:.1f} s at most")
    lines += [f"  {at:8.1f}  {remark}" for at, remark in record.remarks]
    groups = grouped(ledger)
    for at, (first, *others) in enumerate(groups):
        if at < stories:
            lines += ["", *(f"  {line}" for line in story(ledger, first))]
        else:
            lines.append(f"  {first.promise} at {first.at:.1f}: {first.what}")
        lines += [f"    and {len(others)} more of it, such as: {others[-1].what}"] if others else []
    return "\n".join(lines)


def summary(results: list[dict[str, Any]]) -> str:
    """All runs, then each kind of fault: how long after its end all was told, and NOTIFYs that said nothing new."""
    lines = [f"{'run':28} {'promises':>8} {'broken':>7} {'NOTIFYs':>8} {'doubled':>8} {'took':>8}"]
    sums: Counter[str] = Counter()
    for result in results:
        figures = {name: result[name] for name in ("promises", "notifies", "doubled")} | {
            "broken": len(result["broken"])
        }
        lines.append(row_of(result["run"], figures, result["took"]))
        sums.update(figures)
    lines.append(row_of("all", sums, sum(result["took"] for result in results)))
    recoveries: dict[str, list[float]] = {}
    doubled: Counter[str] = Counter()
    for result in results:
        for name, seconds in result["recoveries"].items():
            recoveries.setdefault(name, []).extend(seconds)
        doubled.update(result["doubled_by_fault"])
    lines += ["", f"{'fault':28} {'times':>8} {'usually':>8} {'worst':>8} {'doubled':>8}"]
    for name, seconds in sorted(recoveries.items()):
        usually, worst = statistics.median(seconds), max(seconds)
        lines.append(f"{name:28} {len(seconds):8} {usually:6.1f} s {worst:6.1f} s {doubled[name]:8}")
    lines += [f"{'before the first':28} {'':8} {'':8} {'':8} {doubled['']:8}"] if doubled[""] else []
    return "\n".join(lines)


def row_of(name: str, figures: Mapping[str, int], took: float) -> str:
    promises, broken, notifies, doubled = (figures[name] for name in ("promises", "broken", "notifies", "doubled"))
    return f"{name:28} {promises:8} {broken:7} {notifies:8} {doubled:8} {took:6.0f} s"


def grouped(ledger: Ledger) -> list[list[Broken]]:
    """What is broken, those of one change to several phones together."""
    groups: dict[tuple[object, ...], list[Broken]] = {}
    for number, broken in enumerate(ledger.broken):
        what = (broken.feature, broken.serial) if broken.serial else (number,)
        groups.setdefault((broken.promise, broken.presentity, *what), []).append(broken)
    return list(groups.values())


def as_json(ledger: Ledger) -> dict[str, Any]:
    """The same for programs."""
    return {
        "promises": ledger.total,
        "made": dict(ledger.made),
        "ended": dict(ledger.void),
        "broken": [vars(broken) | {"story": story(ledger, broken)} for broken in ledger.broken],
        "doubled": ledger.doubled,
        "doubled_by_fault": dict(ledger.doubled_by_fault),
        "notifies": len(ledger.record.notifies),
        "recoveries": dict(ledger.recoveries),
        "remarks": ledger.record.remarks,
        "faults": [vars(fault) for fault in ledger.record.faults],
        "lag_seconds": sum(late for _, late in ledger.record.lags),
    }
