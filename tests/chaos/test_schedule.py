"""Schedules: the same seed gives the same one, each fault fits its row, and whoever is replaced is put back."""

import random
import unittest

from schedule import CLOCK_SECONDS, ROWS, Step, names, replacements, schedule


def turns(row: str, seed: int) -> list[Step]:
    return schedule(ROWS[row], seed, 120)


class ScheduleTest(unittest.TestCase):
    def test_a_seed_gives_the_same_schedule_and_another_seed_another(self) -> None:
        for name, row in ROWS.items():
            if row.faults:
                self.assertEqual(schedule(row, 7, 240), schedule(row, 7, 240), name)
                self.assertNotEqual(schedule(row, 7, 240), schedule(row, 8, 240), name)

    def test_a_clock_is_off_by_seconds_to_minutes_and_only_where_that_is_the_fault(self) -> None:
        for name in ("clocks", "mixed"):
            steps = schedule(ROWS[name], 3, 600)
            for step in steps:
                is_of_a_clock = step.kind.endswith(("ahead", "behind"))
                self.assertEqual(bool(step.by), is_of_a_clock, step)
                if is_of_a_clock:
                    self.assertIn(abs(step.by), CLOCK_SECONDS)
                    self.assertEqual(step.by > 0, step.kind.endswith("ahead"))
            self.assertEqual(any(step.by for step in steps), name == "clocks")

    def test_every_process_is_replaced_once_and_put_back_in_the_opposite_order(self) -> None:
        everyone = names(ROWS["upgrade"].shape)["any"]
        for row in ("upgrade", "upgrade-any"):
            steps = turns(row, 5)
            up = [step.target for step in steps if step.kind == "upgrade"]
            self.assertEqual(sorted(up), sorted(everyone))
            self.assertEqual([step.target for step in steps if step.kind == "downgrade"], up[::-1])
            self.assertEqual([step.at for step in steps], sorted(step.at for step in steps))

    def test_bridges_come_before_workers_and_workers_before_edges_where_the_order_is_that_of_the_documents(
        self,
    ) -> None:
        kinds = [step.target.rstrip("0123456789") for step in turns("upgrade", 1)[:7]]
        self.assertEqual(kinds, ["mi", "mi", "worker", "worker", "edge", "edge", "edge"])
        orders = {tuple(step.target for step in turns("upgrade-any", seed)) for seed in range(5)}
        self.assertEqual(len(orders), 5)

    def test_there_is_a_while_in_which_every_process_is_new(self) -> None:
        steps = replacements(ROWS["upgrade"], random.Random(1), 120)
        last_up, first_down = steps[6], steps[7]
        others = steps[1].at - steps[0].at
        self.assertAlmostEqual(first_down.at - last_up.at, 2 * others, delta=0.2)


if __name__ == "__main__":
    unittest.main()
