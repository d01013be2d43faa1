"""The ledger is neither blind nor stricter than it should be: made-up records, each with one thing wrong or nothing."""

import unittest

from record import FEATURES, Answered, Change, Dead, Dialog, Fault, Got, Made, Notify, Record
from report import judge

ALICE, FEATURE = "sip:alice@127.0.0.1", FEATURES[0]
KEY = ALICE, FEATURE


class Run:
    """A run of 100 s: one phone at edge 1, which was told of the first state at 10 s."""

    def __init__(self) -> None:
        self.record = Record(settled_at=100.0)
        self.dialog = Dialog("p00", ALICE, "call", 1.0, 1.0)
        self.record.dialogs.append(self.dialog)
        self.record.answered.append(Answered(1.0, 0.9, self.dialog, "edge1", 200, 0))
        self.notify(1.1, dict.fromkeys(FEATURES, 0))
        self.made(10.0, 1, 1001)
        self.notify(10.1, {FEATURE: 1001})

    def made(self, at: float, version: int, serial: int) -> None:
        self.record.made.append(Made(at, KEY, version, serial, "event"))
        self.record.final[KEY] = version, serial

    def notify(self, at: float, states: dict[str, int], sender: str = "edge1", cseq: int = 0) -> None:
        cseq = cseq or self.dialog.highest + 1
        self.record.notifies.append(Notify(at, self.dialog, cseq, self.dialog.highest, sender, states, False))
        self.dialog.highest = max(self.dialog.highest, cseq)

    def change(self, serial: int, way: str, outcome: str, place: int | None = None, said: str = "") -> None:
        self.record.changes[serial] = Change(serial, KEY, way, "a test", 9.0, 10.0, outcome, None, said, place)

    def fault(self, kind: str, target: str, began_at: float, ended_at: float, allowance: float = 5.0) -> None:
        self.record.faults.append(Fault(kind, target, began_at, allowance, ended_at))

    def broken(self) -> list[str]:
        for feature in FEATURES:
            self.record.final.setdefault((ALICE, feature), (0, 0))
        return [broken.promise for broken in judge(self.record).broken]


class LedgerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.run_of = Run()

    def test_a_run_without_trouble_breaks_nothing(self) -> None:
        self.run_of.made(20.0, 2, 1002)
        self.run_of.notify(24.9, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), [])

    def test_a_change_that_is_told_too_late_or_never_is_broken(self) -> None:
        self.run_of.made(20.0, 2, 1002)
        self.run_of.notify(25.5, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), ["change told"])
        never = Run()
        never.made(20.0, 2, 1002)
        self.assertEqual(never.broken(), ["change told", "shows in the end what get says"])

    def test_what_is_due_waits_for_the_end_of_faults_that_follow_closely(self) -> None:
        self.run_of.made(20.0, 2, 1002)
        self.run_of.fault("kill", "worker1", 21.0, 27.0)
        self.run_of.fault("pause", "edge1", 30.0, 40.0, allowance=10.0)
        self.run_of.notify(49.0, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), [])

    def test_a_phone_whose_dialog_ended_is_owed_nothing(self) -> None:
        self.run_of.made(20.0, 2, 1002)
        self.run_of.dialog.ended_at, self.run_of.dialog.end = 24.0, "481 from edge1"
        after = Dialog("p00", ALICE, "call-2", 24.0, 24.1)
        self.run_of.record.dialogs.append(after)
        self.run_of.record.answered.append(Answered(24.1, 24.0, after, "edge2", 200, 0))
        states = dict.fromkeys(FEATURES, 0) | {FEATURE: 1002}
        self.run_of.record.notifies.append(Notify(24.2, after, 1, 0, "edge2", states, False))
        self.assertEqual(self.run_of.broken(), [])

    def test_an_older_state_after_a_newer_one_is_broken(self) -> None:
        self.run_of.made(20.0, 2, 1002)
        self.run_of.notify(20.1, {FEATURE: 1002})
        self.run_of.notify(21.0, {FEATURE: 1001})
        self.run_of.notify(22.0, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), ["told in order"])

    def test_a_state_of_which_nobody_knows_the_version_breaks_nothing(self) -> None:
        self.run_of.notify(15.0, {FEATURE: 1500})
        self.run_of.made(20.0, 2, 1002)
        self.run_of.notify(20.1, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), [])

    def test_a_cseq_that_does_not_grow_is_broken(self) -> None:
        self.run_of.notify(20.0, {}, cseq=2)
        self.assertEqual(self.run_of.broken(), ["CSeq grows"])

    def test_two_edges_that_send_in_turn_are_broken(self) -> None:
        self.run_of.fault("pause", "edge1", 20.0, 30.0, allowance=10.0)
        self.run_of.notify(26.0, {}, "edge2", 1000)
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.notify(30.5, {}, "edge1", 3)
        self.assertEqual(self.run_of.broken(), ["one sender"])

    def test_an_edge_may_take_over_from_one_that_the_phone_asked_and_that_never_answered(self) -> None:
        self.run_of.record.answered.append(Answered(30.0, 20.0, self.run_of.dialog, "edge3", 0, 0))
        self.run_of.notify(25.5, {}, "edge2", 1000)
        self.assertEqual(self.run_of.broken(), ["one sender"], "edge3 is well")
        self.run_of.fault("pause", "edge3", 20.1, 30.0, allowance=10.0)
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.notify(26.0, {}, "edge1", 1001)
        self.assertEqual(self.run_of.broken(), ["one sender"], "edge1 was left")

    def test_what_was_on_its_way_when_the_phone_moved_is_not(self) -> None:
        self.run_of.record.answered.append(Answered(20.0, 19.9, self.run_of.dialog, "edge2", 200, 0))
        self.run_of.notify(20.1, {}, "edge2", 1000)
        self.run_of.notify(20.5, {}, "edge1", 3)
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.notify(22.5, {}, "edge1", 4)
        self.assertEqual(self.run_of.broken(), ["one sender"])

    def test_an_error_that_changed_something_is_broken_unless_it_says_that_it_is_told(self) -> None:
        self.run_of.change(1001, "set", "error", said="503 the change may not have been made")
        self.assertEqual(self.run_of.broken(), ["error changed nothing"])
        self.run_of.change(1001, "set", "error", said="503 if the change was made, its phones are told")
        self.assertEqual(self.run_of.broken(), [])

    def test_a_durable_command_is_done_once_in_order_or_is_a_dead_letter(self) -> None:
        self.run_of.change(1001, "durable", "ok", place=2)
        self.run_of.change(1002, "durable", "ok", place=1)
        self.assertEqual(self.run_of.broken(), ["acknowledged is carried out"])
        self.run_of.record.dead.append(Dead(1002, "failed"))
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.made(20.0, 2, 1002)
        self.run_of.notify(20.1, {FEATURE: 1002})
        self.assertEqual(self.run_of.broken(), ["durable in order"])
        self.run_of.made(21.0, 3, 1001)
        self.run_of.notify(21.1, {FEATURE: 1001})
        self.assertIn("made at most once", self.run_of.broken())

    def test_a_get_that_goes_back_is_broken(self) -> None:
        self.run_of.record.gets.append(Got(20.0, 20.1, ALICE, {FEATURE: (0, 0)}))
        self.assertEqual(self.run_of.broken(), ["get is not older"])

    def test_a_dialog_over_udp_outlives_an_upgrade_and_one_over_a_connection_need_not(self) -> None:
        self.run_of.fault("upgrade", "edge1", 20.0, 22.0, allowance=10.0)
        self.run_of.dialog.ended_at, self.run_of.dialog.end = 30.0, "481 from edge1"
        after = Dialog("p00", ALICE, "call-2", 30.0, 30.1)
        self.run_of.record.dialogs.append(after)
        self.run_of.record.answered.append(Answered(30.1, 30.0, after, "edge1", 200, 0))
        self.run_of.record.notifies.append(
            Notify(30.2, after, 1, 0, "edge1", dict.fromkeys(FEATURES, 0) | {FEATURE: 1001}, False)
        )
        self.assertEqual(self.run_of.broken(), ["outlives the upgrade"])
        self.run_of.dialog.is_reliable = True
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.dialog.is_reliable = False
        self.run_of.fault("kill", "edge1", 40.0, 41.0)
        self.assertEqual(self.run_of.broken(), [], "no promise where anything may happen")

    def test_what_tcp_carries_since_before_a_cut_is_on_its_way(self) -> None:
        for kind, is_reliable, at, broken in (
            ("mute", True, 35.0, []),
            ("mute", True, 38.0, ["one sender"]),
            ("mute", False, 35.0, ["one sender"]),
            ("pause", True, 35.0, ["one sender"]),
        ):
            run_of = Run()
            run_of.dialog.is_reliable = is_reliable
            run_of.fault(kind, "edge1", 20.0, 28.0, allowance=10.0)
            run_of.record.answered.append(Answered(23.0, 22.9, run_of.dialog, "edge2", 200, 0))
            run_of.notify(23.1, {}, "edge2", 1000)
            run_of.notify(at, {}, "edge1", 3)
            self.assertEqual(run_of.broken(), broken, (kind, is_reliable, at))

    def test_an_edge_that_is_put_back_may_show_an_older_state_for_a_moment(self) -> None:
        for kind, seconds, broken in (
            ("downgrade", 2.0, []),
            ("downgrade", 6.0, ["told in order"]),
            ("upgrade", 2.0, ["told in order"]),
        ):
            run_of = Run()
            run_of.made(15.0, 2, 1002)
            run_of.notify(15.1, {FEATURE: 1002})
            run_of.fault(kind, "edge1", 20.0, 22.0, allowance=10.0)
            run_of.notify(22.1, {FEATURE: 1001})
            run_of.notify(22.1 + seconds, {FEATURE: 1002})
            self.assertEqual(run_of.broken(), broken, f"{kind}, put right after {seconds} s")

    def test_a_version_that_cannot_read_the_other_is_broken(self) -> None:
        self.run_of.fault("upgrade", "mi1", 20.0, 22.0)
        self.run_of.record.unread.append((30.0, "mi1", {}))
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.record.unread.append((40.0, "mi2", {'dfks_mi_dropped_total{reason="unreadable_record"}': 1.0}))
        self.assertEqual(self.run_of.broken(), ["reads the other version"])

    def test_an_edge_that_is_replaced_tells_again_once_and_a_bridge_never(self) -> None:
        self.run_of.fault("upgrade", "edge1", 20.0, 22.0, allowance=10.0)
        self.run_of.notify(23.0, {FEATURE: 1001})
        self.assertEqual(self.run_of.broken(), [])
        self.run_of.notify(24.0, {FEATURE: 1001})
        self.assertEqual(self.run_of.broken(), ["told again within bounds"])
        bridge = Run()
        bridge.fault("upgrade", "mi1", 20.0, 22.0)
        bridge.notify(23.0, {FEATURE: 1001})
        self.assertEqual(bridge.broken(), ["told again within bounds"])

    def test_a_200_without_a_notify_is_broken(self) -> None:
        self.run_of.record.answered.append(Answered(20.0, 19.9, self.run_of.dialog, "edge1", 200, 0))
        self.assertEqual(self.run_of.broken(), ["200 followed by a NOTIFY"])


if __name__ == "__main__":
    unittest.main()
