"""One run of sipp against a server."""

import csv
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from process import BenchError
from statistic import share_within

HERE = Path(__file__).resolve().parent
EVERY_CALL = 60_000
# what Kamailio's presence module knows instead
AS_MESSAGE_SUMMARY = {
    "Event: as-feature-event": "Event: message-summary",
    "application/x-as-feature-event+xml, multipart/mixed": "application/simple-message-summary",
}


@dataclass(frozen=True)
class Load:
    """What came of a run."""

    done: int
    failed: int
    again: int  # retransmissions
    within_1ms: float  # per cent

    def is_clean(self) -> bool:
        """No failed call, and less than one in a hundred retransmitted."""
        return self.done > 0 and self.failed == 0 and self.again < 0.01 * self.done


def scenario_of(name: str, is_yardstick: bool) -> str:
    text = (HERE / f"{name}.xml").read_text(encoding="utf-8")
    for ours, theirs in AS_MESSAGE_SUMMARY.items() if is_yardstick else ():
        text = text.replace(ours, theirs)
    return text


def read(row: dict[str, str], wanted: int) -> Load:
    """The last line of sipp's statistics. A call that is missing in it has failed."""
    done, failed, again = (int(row[f"{key}(C)"]) for key in ("SuccessfulCall", "FailedCall", "Retransmissions"))
    prefix = "ResponseTimeRepartition1_"
    spread = {key.removeprefix(prefix): int(value) for key, value in row.items() if key and key.startswith(prefix)}
    return Load(done, max(failed, wanted - done), again, share_within(spread, 1))


def call(address: str, name: str, rate: int, calls: int, is_yardstick: bool = False, at_once: int = EVERY_CALL) -> Load:
    """So many calls at so many a second, or as fast as the server answers when only so many may be open at once."""
    seconds = calls // rate + 60 if at_once == EVERY_CALL else 5 * calls // rate + 60
    with tempfile.TemporaryDirectory(prefix="dfks-bench-") as work:
        Path(work, "scenario.xml").write_text(scenario_of(name, is_yardstick), encoding="utf-8")
        command = f"""
            sipp {address} -sf scenario.xml -i 127.0.0.1 -r {rate} -m {calls} -l {at_once}
            -nostdin -trace_stat -fd 1 -stf stat.csv
            -recv_timeout 10000 -timeout {seconds} -timeout_error -buff_size 4194304
        """.split()
        quiet = subprocess.DEVNULL
        try:
            # it ends with another code than 0 when a call failed: that is in the statistics
            subprocess.run(
                command, cwd=work, stdin=quiet, stdout=quiet, stderr=quiet, timeout=seconds + 30, check=False
            )
            with Path(work, "stat.csv").open(encoding="utf-8") as stat:
                rows = list(csv.DictReader(stat, delimiter=";"))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"sipp: {error}") from error
        if not rows:
            raise BenchError("sipp wrote no statistics")
        return read(rows[-1], calls)
