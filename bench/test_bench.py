"""What is made of measurements, and how others' output is read."""

import math
import tomllib
import unittest

import count
import report
import sipp
from abuse import call_id_of
from goal import TARGETS, Measured, Target, number
from natswire import Reader
from phone import Dialog, header, ok
from process import TICKS, cpu_of
from statistic import Search, Spread, median, percentile, ratios, share_within

NOTIFY = (
    b"NOTIFY sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=n\r\n"
    b"To: <sip:a@h>;tag=f\r\nCall-ID: c1\r\nCSeq: 7 NOTIFY\r\nEvent: as-feature-event\r\nContent-Length: 2\r\n\r\nxy"
)


class Statistic(unittest.TestCase):
    def test_median_is_the_middle_value_or_between_the_two(self) -> None:
        self.assertEqual(median([9, 1, 5]), 5)
        self.assertEqual(median([4, 1, 2, 9]), 3)
        self.assertTrue(math.isnan(median([])))

    def test_percentile_is_a_value_that_was_measured(self) -> None:
        hundred = [float(value) for value in range(1, 101)]
        for share, want in [(0, 1), (0.01, 1), (0.5, 50), (0.95, 95), (0.951, 96), (1, 100)]:
            self.assertEqual(percentile(hundred, share), want, share)
        self.assertEqual(percentile([3], 0.95), 3)

    def test_ratios_are_those_of_pairs(self) -> None:
        self.assertEqual(ratios([10, 30], [20, 20]), [0.5, 1.5])
        self.assertEqual(ratios([10, 30], [0, 20]), [1.5])
        with self.assertRaises(ValueError):
            ratios([1], [])

    def test_share_within_counts_what_is_below_the_limit(self) -> None:
        self.assertEqual(share_within({"<1": 80, "<2": 15, ">=2": 5}, 1), 80)
        self.assertEqual(share_within({"<1": 80, "<2": 15, ">=2": 5}, 2), 95)
        self.assertTrue(math.isnan(share_within({"<1": 0}, 1)))

    def test_spread_of_nothing_is_none(self) -> None:
        self.assertIsNone(Spread.of([]))
        self.assertEqual(Spread.of([3, 1, 2]), Spread(2, 1, 3))


class Searches(unittest.TestCase):
    def tried(self, capacity: int, unlucky: int = 0) -> tuple[int, list[int]]:
        """Where a server of this capacity ends; at one rate the first try goes wrong by chance."""
        search, tries = Search([1000, 2000, 4000, 6000, 8000]), []
        while (rate := search.rate) is not None:
            search.tell(rate <= capacity and not (rate == unlucky and rate not in tries))
            tries.append(rate)
        return search.highest, tries

    def test_finds_the_highest_rate_that_is_held(self) -> None:
        for capacity in (0, 999, 1000, 3999, 4000, 7000, 8000, 20_000):
            want = max((rate for rate in (1000, 2000, 4000, 6000, 8000) if rate <= capacity), default=0)
            self.assertEqual(self.tried(capacity)[0], want, capacity)

    def test_a_rate_that_is_lost_once_gets_a_second_try_and_no_third(self) -> None:
        highest, tries = self.tried(4000, unlucky=4000)
        self.assertEqual(highest, 4000)
        self.assertEqual(tries, [4000, 4000, 6000, 6000])


class Goals(unittest.TestCase):
    def test_a_ratio_is_judged_by_its_median(self) -> None:
        target = Target("work", "µs", "≤", 0.5, "yardstick", True)
        self.assertTrue(target.is_met(Measured([40, 50, 90], [100, 100, 100])))
        self.assertFalse(target.is_met(Measured([40, 51, 90], [100, 100, 100])))
        self.assertEqual(target.text(), "≤ 0.5 x")

    def test_a_failed_call_misses_every_target(self) -> None:
        target = Target("work", "/s", "≥", 2500)
        self.assertTrue(target.is_met(Measured([2500])))
        self.assertFalse(target.is_met(Measured([2500], failed=1)))
        self.assertFalse(target.is_met(Measured([])))
        self.assertEqual(target.text(), "≥ 2,500 /s")

    def test_a_tolerance_holds_both_ways(self) -> None:
        target = Target("work", "µs", "±", 0.2, "before", True)
        for ours, want in [(79, False), (81, True), (119, True), (121, False)]:
            self.assertEqual(target.is_met(Measured([ours], [100])), want, ours)

    def test_numbers_keep_three_digits(self) -> None:
        for value, want in [(0.0634, "0.0634"), (1.284, "1.28"), (99.6, "99.6"), (138.4, "138"), (12_345.6, "12,346")]:
            self.assertEqual(number(value), want)


ROW = {
    "SuccessfulCall(C)": "97",
    "FailedCall(C)": "1",
    "Retransmissions(C)": "0",
    "ResponseTimeRepartition1_<1": "90",
    "ResponseTimeRepartition1_<2": "7",
    "ResponseTimeRepartition1_>=2": "0",
}


class Reads(unittest.TestCase):
    def test_a_call_missing_in_the_statistics_of_sipp_has_failed(self) -> None:
        load = sipp.read(ROW, 100)
        self.assertEqual((load.done, load.failed, load.again), (97, 3, 0))
        self.assertAlmostEqual(load.within_1ms, 100 * 90 / 97)
        self.assertFalse(load.is_clean())

    def test_a_run_is_clean_below_one_retransmission_in_a_hundred(self) -> None:
        for again, want in [(0, True), (9, True), (10, False)]:
            self.assertEqual(sipp.Load(1000, 0, again, 100).is_clean(), want, again)

    def test_the_yardstick_gets_the_same_scenario_for_its_event(self) -> None:
        for name in ("subscribe", "press"):
            ours, theirs = sipp.scenario_of(name, False), sipp.scenario_of(name, True)
            self.assertNotIn("Event: as-feature-event", theirs)
            self.assertEqual(ours.count("Event: as-feature-event"), theirs.count("Event: message-summary"))

    def test_cpu_is_user_and_system_time_whatever_the_name_of_the_program(self) -> None:
        fields = " ".join(str(value) for value in range(1, 50))
        self.assertEqual(cpu_of(f"1 (a) b (c) {fields}"), (12 + 13) / TICKS)


class Wire(unittest.TestCase):
    STREAM = (
        b'INFO {"x":1}\r\nPING\r\nMSG a.b 1 5\r\nhello\r\n'
        b"MSG a.c 1 _INBOX.x 2\r\n\r\n\r\nHMSG _INBOX.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        b"HMSG _INBOX.2 1 re.ply 12 15\r\nNATS/1.0\r\n\r\nabc\r\n"
    )

    def test_messages_are_read_however_the_stream_is_cut(self) -> None:
        for size in (1, 2, 7, 19, len(self.STREAM)):
            reader, found = Reader(), []
            for at in range(0, len(self.STREAM), size):
                found += reader.feed(self.STREAM[at : at + size])
            shown = [(one.subject, one.reply, one.payload, one.is_nobody) for one in found]
            want = [
                ("a.b", "", b"hello", False),
                ("a.c", "_INBOX.x", b"\r\n", False),
                ("_INBOX.1", "", b"", True),
                ("_INBOX.2", "re.ply", b"abc", False),
            ]
            self.assertEqual(shown, want, size)
            self.assertEqual(reader.pings, 1)

    def test_a_notify_is_answered_with_its_own_headers(self) -> None:
        answer = ok(NOTIFY)
        for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"):
            self.assertEqual(header(answer, name), header(NOTIFY, name))
        self.assertTrue(answer.endswith(b"Content-Length: 0\r\n\r\n"))
        self.assertEqual(header(answer, b"Event"), b"")

    def test_a_refresh_is_the_next_request_of_its_dialog(self) -> None:
        import socket  # noqa: PLC0415 - only for an address

        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            dialog = Dialog("sip:a@h", "c1", one)
            first = dialog.subscribe()
            dialog.to = "<sip:a@h>;tag=n"
            second = dialog.subscribe()
        self.assertEqual(header(first, b"CSeq"), b"1 SUBSCRIBE")
        self.assertEqual(header(second, b"CSeq"), b"2 SUBSCRIBE")
        self.assertEqual((header(first, b"To"), header(second, b"To")), (b"<sip:a@h>", b"<sip:a@h>;tag=n"))
        self.assertEqual(call_id_of(first), b"c1")


class Counts(unittest.TestCase):
    def test_the_total_of_a_run_is_that_of_all_its_parts(self) -> None:
        self.assertEqual(count.total("version: 1\nsummary: 1200\nfn=(1) main\n0 5\ntotals: 1234\n"), 1234)
        with self.assertRaises(ValueError):
            count.total("version: 1\n")

    def test_three_in_a_hundred_more_are_too_many_and_fewer_are_not(self) -> None:
        kept = {"a": 1000}
        for now, want in [(1000, True), (1030, True), (1031, False), (500, True)]:
            self.assertEqual(count.judge(kept, {"a": now})[1], want, now)
        self.assertFalse(count.judge(kept, {"a": 1000, "b": 1})[1], "a piece that was never written down")

    def test_counts_of_other_architectures_stay(self) -> None:
        text = count.written({"x86_64": {"with": "rustc 1, glibc 2", "a": 1}, "aarch64": {"a": 2}})
        self.assertEqual(tomllib.loads(text), {"aarch64": {"a": 2}, "x86_64": {"with": "rustc 1, glibc 2", "a": 1}})


class Page(unittest.TestCase):
    def kept(self, *values: float, failed: int = 0) -> dict:
        about = {"at": "2026-11-27 20:00", "commit": "abc", "machine": "m", "peers": "p"}
        return {"ours": list(values), "theirs": [], "failed": failed, "note": "as noted", **about}

    def test_a_missed_target_is_named_with_its_reason(self) -> None:
        found = {"mi-one": self.kept(600), "mi-64": self.kept(9000)}
        page = report.markdown(found, {"mi-one": "for this reason."})
        self.assertIn("| MI sets, one after another | 600 /s |  |  | ≥ 2,500 /s | **no** | 0 | 1 |", page)
        self.assertIn("| `dfks.set`, 64 in flight | 9,000 /s |  |  | ≥ 8,000 /s | yes | 0 | 1 |", page)
        self.assertIn("- MI sets, one after another: for this reason.", page)
        self.assertNotIn("64 in flight: not looked into", page)

    def test_rows_that_were_not_measured_are_named(self) -> None:
        page = report.markdown({"mi-one": self.kept(3000)}, {})
        for key, target in TARGETS.items():
            self.assertEqual(f"{target.work};" in page or f"{target.work}." in page, key != "mi-one", key)

    def test_rows_of_several_commits_say_which(self) -> None:
        page = report.markdown({"mi-one": self.kept(3000), "mi-64": self.kept(1) | {"commit": "def"}}, {})
        self.assertIn("- commit: abc; def", page)
        self.assertIn("- `dfks.set`, 64 in flight: 2026-11-27 20:00, def", page)


if __name__ == "__main__":
    unittest.main()
