"""What the lint of dashboards finds: one doctored panel each."""

import copy
import json
import sys
import unittest
from pathlib import Path

GRAFANA = Path(__file__).parents[1]
sys.path.insert(0, str(GRAFANA))

import lint  # noqa: E402


def panel(board, title):
    content = json.loads((GRAFANA / f"dashboards/{board}.json").read_text(encoding="utf-8"))
    return next(copy.deepcopy(one) for one in content["panels"] if one["title"] == title)


def found(one):
    findings = []
    lint.lint_panel(one, findings.append)
    return findings


class Panels(unittest.TestCase):
    def test_those_of_the_repository_are_good(self):
        for path in (GRAFANA / "dashboards").glob("*.json"):
            for one in lint.panels_of(json.loads(path.read_text(encoding="utf-8"))):
                self.assertEqual(found(one), [], one["title"])

    def test_a_share_that_is_0_all_the_time_is_drawn_up_to_100_percent(self):
        share = panel("dfks-edge", "Open files, of those allowed")
        del share["fieldConfig"]["defaults"]["custom"]["axisSoftMax"]
        self.assertEqual(found(share), ["a share: axis from 0 to 1"])

    def test_a_number_has_the_colour_of_its_threshold(self):
        dead = panel("dfks-overview", "Dead letters, 1 h")
        dead["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
        self.assertEqual(found(dead), ["a number has the colour of its threshold"])

    def test_a_number_with_a_runbook_has_a_colour_for_trouble(self):
        dead = panel("dfks-overview", "Dead letters, 1 h")
        dead["fieldConfig"]["defaults"]["thresholds"]["steps"] = [{"color": "green", "value": None}]
        self.assertEqual(found(dead), ["a number with a runbook: a colour for trouble"])

    def test_thresholds_go_up(self):
        dead = panel("dfks-overview", "Dead letters, 1 h")
        dead["fieldConfig"]["defaults"]["thresholds"]["steps"].reverse()
        self.assertIn("thresholds from the bottom up: [10, 0.5, None]", found(dead))

    def test_a_threshold_of_lines_is_seen(self):
        full = panel("dfks-bus-worker", "Streams: how full")
        del full["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]
        self.assertEqual(found(full), ["thresholds that nobody sees"])

    def test_a_legend_names_the_instance(self):
        memory = panel("dfks-edge", "Resident memory")
        memory["targets"][0]["legendFormat"] = "memory"
        self.assertEqual(found(memory), ["the legend names no instance: memory"])

    def test_a_legend_names_what_tells_the_series_apart(self):
        queues = panel("dfks-edge", "Queues of an edge: how full")
        queues["targets"][0]["legendFormat"] = "{{queue}}"
        (finding,) = found(queues)
        self.assertEqual(finding, "the legend names ['queue'], the series are told apart by ['instance', 'queue']")

    def test_a_title_is_not_cut_off(self):
        delivered = panel("dfks-overview", "NOTIFYs delivered")
        delivered["title"] += "??"
        self.assertEqual(found(delivered), ["a title that is cut off"])

    def test_alerts_without_a_label_are_not_left_out_by_its_variable(self):
        alerts = panel("dfks-overview", "Alerts firing, by name")
        target = alerts["targets"][0]
        target["expr"] = target["expr"].replace('"$job|"', '"$job"')
        self.assertEqual(len(found(alerts)), 1)


RUNBOOK = """# DfksX

```sh
dfks why PRESENTITY
```

## What the phone's user sees
## What the answers mean
## Narrow it down

```promql
# the alert
x > 1
# where
sum by (instance) (x)
```

## How to see that it worked
"""


class Runbooks(unittest.TestCase):
    def found(self, text):
        return list(lint.lint_runbook(text, "x > 1"))

    def test_a_good_one(self):
        self.assertEqual(self.found(RUNBOOK), [])

    def test_it_begins_with_a_command(self):
        text = RUNBOOK.replace("```sh\ndfks why PRESENTITY\n```\n\n", "", 1)
        self.assertIn("it begins with a command of dfks to copy", self.found(text))

    def test_its_first_query_is_that_of_the_alert(self):
        self.assertIn("its first query is the alert's expression: x > 1", self.found(RUNBOOK.replace("x > 1", "x > 2")))

    def test_another_query_narrows_it_down(self):
        self.assertEqual(len(self.found(RUNBOOK.replace("by (instance) ", ""))), 1)

    def test_the_runbooks_that_it_names_are_there(self):
        self.assertEqual(self.found(RUNBOOK + "DfksNowhere\n"), ["no runbook DfksNowhere"])

    def test_a_query_that_is_none_is_found_by_promtool(self):
        self.assertEqual(lint.queries(RUNBOOK), ["x > 1", "sum by (instance) (x)"])
        rules = lint.as_rules()["groups"][0]["rules"]
        self.assertGreaterEqual(len(rules), 2 * 23)


if __name__ == "__main__":
    unittest.main()
