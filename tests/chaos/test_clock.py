"""The time of day of a process is what its clock says, also while it runs; other clocks stay what they are."""

import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from clock import Clock

SAYS = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"


class ClockTest(unittest.TestCase):
    def test_a_clock_jumps_while_its_process_runs(self) -> None:
        with tempfile.TemporaryDirectory() as work:
            clock = Clock("edge1", Path(work))
            with subprocess.Popen(
                [sys.executable, "-c", SAYS],
                env=clock.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as child:
                assert child.stdin and child.stdout
                for ahead in (0, 600, -30.5, 0):
                    clock.set(ahead)
                    print("now", file=child.stdin, flush=True)
                    wall, monotonic = map(float, child.stdout.readline().split())
                    self.assertAlmostEqual(wall - time.time(), ahead, delta=5)
                    self.assertAlmostEqual(monotonic - time.monotonic(), 0, delta=5)
                print(file=child.stdin, flush=True)


if __name__ == "__main__":
    unittest.main()
