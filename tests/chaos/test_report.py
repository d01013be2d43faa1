"""The tables at the end of all runs."""

import unittest

from ledger import Ledger
from record import Dialog, Fault, Record
from report import as_json, summary


def result(run: str, promises: int, recoveries: dict[str, list[float]], doubled: dict[str, int]) -> dict[str, object]:
    figures = {"run": run, "took": 60.0, "promises": promises, "broken": [], "notifies": 100}
    return figures | {"doubled": sum(doubled.values()), "recoveries": recoveries, "doubled_by_fault": doubled}


class SummaryTest(unittest.TestCase):
    def test_runs_are_summed_and_faults_put_together_by_kind(self) -> None:
        one = result("edges, seed 1", 1000, {"pause edge": [1.0, 3.0]}, {"pause edge": 4})
        other = result("edges, seed 2", 500, {"pause edge": [0.0], "kill worker": [0.0]}, {"": 1, "pause edge": 2})
        lines = [line.split() for line in summary([one, other]).splitlines()]
        self.assertIn(["all", "1500", "0", "200", "7", "120", "s"], lines)
        self.assertIn(["pause", "edge", "3", "1.0", "s", "3.0", "s", "6"], lines)
        self.assertIn(["kill", "worker", "1", "0.0", "s", "0.0", "s", "0"], lines)
        self.assertIn(["before", "the", "first", "1"], lines)

    def test_a_notify_that_said_nothing_new_belongs_to_the_fault_that_began_last(self) -> None:
        record = Record(settled_at=100.0)
        record.dialogs.append(Dialog("p00", "sip:alice@127.0.0.1", "call", 1.0, 1.0))
        record.faults += [Fault("kill", "worker2", 10.0, 5.0, 12.0), Fault("pause", "n1+n2", 20.0, 5.0, 25.0)]
        ledger = Ledger(record)
        for at in (9.0, 11.0, 19.0, 50.0):
            ledger.told_again(at, "p00", "CallForwardingBusy")
        ledger.close()
        said = as_json(ledger)
        self.assertEqual(
            (said["doubled"], said["doubled_by_fault"]), (4, {"": 1, "kill worker": 2, "pause several": 1})
        )


if __name__ == "__main__":
    unittest.main()
