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
        tasks = os.listdir(f"/proc/{pid}/task")
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


def main() -> None:
    pid, address, seconds, scenario, rate = (
        int(sys.argv[1]),
        sys.argv[2],
        int(sys.argv[3]),
        sys.argv[4],
        int(sys.argv[5]),
    )
    processes = family(pid)
    before = sum(map(cpu_seconds, processes))
    with tempfile.TemporaryDirectory() as work:
        command = [
            "sipp",
            address,
            "-sf",
            str((HERE / f"{scenario}.xml").resolve()),
            "-i",
            "127.0.0.1",
            "-r",
            str(rate),
            "-m",
            str(rate * seconds),
            "-l",
            "60000",
        ]
        command += [
            "-nostdin",
            "-trace_stat",
            "-fd",
            "1",
            "-stf",
            "stat.csv",
            "-recv_timeout",
            "10000",
            "-timeout",
            str(seconds + 40),
            "-buff_size",
            "4194304",
        ]
        subprocess.run(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds + 60)
        row = list(csv.DictReader(Path(work, "stat.csv").open(), delimiter=";"))[-1]
    done, failed, again = (int(row[key]) for key in ("SuccessfulCall(C)", "FailedCall(C)", "Retransmissions(C)"))
    cpu = sum(map(cpu_seconds, processes)) - before
    spread = [
        (key.split("_", 1)[1], int(value))
        for key, value in row.items()
        if key and key.startswith("ResponseTimeRepartition1_")
    ]
    all_of = max(sum(count for _, count in spread), 1)
    within = " ".join(f"{limit}ms:{100 * count / all_of:.0f}%" for limit, count in spread if count)
    print(
        f"{scenario:12} {rate:5}/s  done {done}  failed {failed}  sent again {again}  {1e6 * cpu / max(done, 1):.0f} µs CPU a call  {sum(map(rss_mib, processes)):.0f} MiB  {within}",
        flush=True,
    )


if __name__ == "__main__":
    main()
