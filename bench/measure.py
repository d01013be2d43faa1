"""One sipp run against a server: measure.py PID HOST:PORT SECONDS SCENARIO RATE. Prints one line."""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
HERE = Path(__file__).parent


def family(pid: int) -> list[int]:
    """A process and those it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        tasks = [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    for task in tasks:
        if int(task) != pid:
            children += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    return [pid] + [one for child in children for one in family(int(child))]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def call(address: str, seconds: int, scenario: str, rate: int) -> dict[str, str]:
    """One run of sipp: the last line of its statistics."""
    with tempfile.TemporaryDirectory() as work:
        command = f"""
            sipp {address} -sf {(HERE / f"{scenario}.xml").resolve()} -i 127.0.0.1
            -r {rate} -m {rate * seconds} -l 60000
            -nostdin -trace_stat -fd 1 -stf stat.csv
            -recv_timeout 10000 -timeout {seconds + 40} -buff_size 4194304
        """.split()
        quiet = subprocess.DEVNULL
        # it ends with 1 when a call failed: that is in the statistics
        subprocess.run(command, cwd=work, stdout=quiet, stderr=quiet, timeout=seconds + 60, check=False)
        with Path(work, "stat.csv").open(encoding="utf-8") as stat:
            return list(csv.DictReader(stat, delimiter=";"))[-1]


def main() -> None:
    pid, address, seconds, scenario, rate = sys.argv[1:6]
    processes = family(int(pid))
    before = sum(map(cpu_seconds, processes))
    row = call(address, int(seconds), scenario, int(rate))
    done, failed, again = (int(row[key]) for key in ("SuccessfulCall(C)", "FailedCall(C)", "Retransmissions(C)"))
    each = 1e6 * (sum(map(cpu_seconds, processes)) - before) / max(done, 1)
    memory = sum(map(rss_mib, processes))
    spread = [
        (key.split("_", 1)[1], int(value))
        for key, value in row.items()
        if key and key.startswith("ResponseTimeRepartition1_")
    ]
    all_of = max(sum(count for _, count in spread), 1)
    within = " ".join(f"{limit}ms:{100 * count / all_of:.0f}%" for limit, count in spread if count)
    print(
        f"{scenario:12} {rate:>5}/s  done {done}  failed {failed}  sent again {again}  "
        f"{each:.0f} µs CPU a call  {memory:.0f} MiB  {within}",
        flush=True,
    )


if __name__ == "__main__":
    main()
