#!/usr/bin/env python3
"""What a dashboard, rule and runbook must have: lint.py [--queries].

Prints what is wrong, one finding a line; exit 1 when there is any. The dashboard rules are those that Grafana's
dashboard-linter is known for, and a few of our own. No dependency: the rule files are read by their lines, in the
layout that they have here. With --queries it prints the PromQL of the runbooks as rules, for promtool.
"""

import itertools
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
MATCHERS = ['job=~"$job"', 'namespace=~"$namespace"', 'instance=~"$instance"']
KNOWN_VARIABLES = {"datasource", "job", "namespace", "instance", "__rate_interval"}
HEADS = ["What the phone's user sees", "What the answers mean", "Narrow it down", "How to see that it worked"]


def panels_of(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def lint_board(name, board, findings, uids):
    def say(what):
        findings.append(f"{name}: {what}")

    uid = board.get("uid", "")
    if not re.fullmatch(r"dfks-[a-z-]+", uid) or uid in uids or name != f"{uid}.json":
        say(f"uid {uid!r}: stable, unique, and the file's name")
    uids.add(uid)
    if board.get("editable") is not False or "id" in board or "__inputs" in board:
        say("provisioned: editable false, no id, no __inputs")
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    if list(variables)[:1] != ["datasource"] or variables["datasource"]["type"] != "datasource":
        say("the first variable is the data source")
    for variable in list(variables.values())[1:]:
        has_all = variable["multi"] and variable["includeAll"] and variable["allValue"] == ".*"
        if not has_all or variable["refresh"] != 2:
            say(f"variable {variable['name']}: multi, All is '.*', refreshed with the time range")
    if not {"job", "namespace", "instance"} <= set(variables):
        say("variables job, namespace, instance")
    if {link["type"] for link in board["links"]} != {"dashboards", "link"}:
        say("links to the other dashboards and to the runbooks")
    titles = [panel["title"] for panel in panels_of(board)]
    if len(titles) != len(set(titles)):
        say(f"two panels with one title: {sorted({title for title in titles if titles.count(title) > 1})}")
    lint_grid(board, say)
    for panel in panels_of(board):
        lint_panel(panel, lambda what, panel=panel: say(f"panel {panel['title']!r}: {what}"))


def lint_grid(board, say):
    taken = {}
    for panel in board["panels"]:
        grid = panel["gridPos"]
        columns, lines = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        if columns.stop > 24:
            say(f"panel {panel['title']!r} sticks out")
        for cell in itertools.product(columns, lines):
            if taken.setdefault(cell, panel["id"]) != panel["id"]:
                say(f"panel {panel['title']!r} overlaps another")
                return


def lint_panel(panel, say):
    if not panel.get("title") or len(panel.get("description", "")) < 15:
        say("title and description")
    if len(panel.get("title", "")) > 6 * panel["gridPos"]["w"]:
        say("a title that is cut off")
    if not panel["fieldConfig"]["defaults"].get("unit"):
        say("unit")
    if panel["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
        say("data source is the variable")
    for link in panel.get("links", []):
        runbook = ROOT / "docs" / "runbooks" / link["url"].rsplit("/", 1)[1]
        if not runbook.exists():
            say(f"no {runbook.name} in docs/runbooks")
    lint_scale(panel, say)
    lint_thresholds(panel, say)
    for target in panel["targets"]:
        lint_target(target, say)
        if panel["type"] == "timeseries":
            lint_legend(target, say)


def lint_scale(panel, say):
    """A share is drawn from 0 to 100 %, also while it is 0: left to itself Grafana then draws 0 to 10000 %."""
    defaults = panel["fieldConfig"]["defaults"]
    if panel["type"] != "timeseries" or defaults["unit"] != "percentunit":
        return
    custom = defaults["custom"]
    is_linear = custom["scaleDistribution"]["type"] == "linear"
    if (defaults.get("min"), custom.get("axisSoftMax"), is_linear) != (0, 1, True):
        say("a share: axis from 0 to 1")


def lint_thresholds(panel, say):
    """A colour says how it is: from the bottom up, and trouble is told by one where a runbook says what to do."""
    defaults = panel["fieldConfig"]["defaults"]
    steps = defaults.get("thresholds", {}).get("steps", [])
    starts = [step["value"] for step in steps]
    if steps and (starts[0] is not None or starts[1:] != sorted(starts[1:]) or None in starts[1:]):
        say(f"thresholds from the bottom up: {starts}")
    if panel["type"] == "stat":
        if defaults["color"] != {"mode": "thresholds"} or panel["options"]["colorMode"] == "none":
            say("a number has the colour of its threshold")
        if panel.get("links") and not {"red", "orange"} & {step["color"] for step in steps}:
            say("a number with a runbook: a colour for trouble")
    elif steps and defaults["custom"].get("thresholdsStyle", {}).get("mode", "off") == "off":
        say("thresholds that nobody sees")


def lint_legend(target, say):
    """A legend names what tells one series from the other: the labels kept, or else the process."""
    legend = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
    aggregation = re.search(r"\b(?:sum|max|min|avg|count)\b\s*(?:by \(([^)]*)\))?", target["expr"])
    if aggregation is None:
        if "instance" not in legend:
            say(f"the legend names no instance: {target['legendFormat']}")
        return
    kept = {label.strip() for label in (aggregation[1] or "").split(",")} - {"", "le"}
    if legend != kept:
        say(f"the legend names {sorted(legend)}, the series are told apart by {sorted(kept)}")


def lint_target(target, say):
    text = target["expr"]
    if target["datasource"]["uid"] != "${datasource}" or not target.get("legendFormat"):
        say("target: data source variable and legend")
    selectors = re.findall(r"(\b(?:dfks|process)_[a-z0-9_]+)\{([^}]*)\}", text)
    metrics = re.findall(r"\b(?:dfks|process)_[a-z0-9_]+", re.sub(r'"[^"]*"', "", text))
    alerts = re.findall(r"\bALERTS\{([^}]*)\}", text)
    if any(f'{matcher[:-1]}|"' not in alert for alert in alerts for matcher in MATCHERS):
        say(f"ALERTS: job, namespace and instance, where they have them: {text}")
    if not selectors + alerts or len(selectors) != len(metrics):
        say(f"a metric without selector: {text}")
    for metric, selector in selectors:
        if any(matcher not in selector for matcher in MATCHERS):
            say(f"{metric} without job, namespace and instance")
        is_counted = re.search(r"_(total|bucket|count|sum)$", metric) is not None
        calls = re.findall(rf"(\w+)\({metric}\{{", text)
        if is_counted != all(call in ("rate", "increase", "irate") for call in calls or ["none"]):
            say(f"{metric}: rate or increase for counters, and for them alone")
    for window in re.findall(r"\[([^\]]+)\]", text):
        if window != "$__rate_interval" and not ("increase(" in text and window in ("15m", "1h")):
            say(f"window [{window}]")
    unknown = set(re.findall(r"\$(\w+)", text)) - KNOWN_VARIABLES
    if unknown:
        say(f"variables {sorted(unknown)}")


def lint_rules(findings):
    text = (HERE / "rules" / "dfks-alerts.yaml").read_text(encoding="utf-8")
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((HERE / "rules" / "tests").glob("*.yaml")))
    names = re.findall(r"- alert: (\w+)\n", text)
    for alert in re.split(r"\n      - alert: ", text)[1:]:
        name = alert.split("\n", 1)[0]
        for field in ("expr:", "severity: ", "summary: ", "description: "):
            if f" {field}" not in alert:
                findings.append(f"alert {name}: {field}")
        has_severity = re.search(r"severity: (critical|warning)\n", alert)
        has_runbook = re.search(rf"runbook_url: https://\S+/{name}\.md\n", alert + "\n")
        if not (has_severity and has_runbook):
            findings.append(f"alert {name}: severity critical or warning, runbook_url of its own")
        for word in ("fires", "stays quiet"):
            if f"- name: {name} {word}\n" not in tests:
                findings.append(f"alert {name}: no test '{name} {word}'")
    runbooks = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Dfks*.md")}
    if runbooks != set(names):
        findings.append(f"alerts and runbooks: {sorted(runbooks ^ set(names))}")
    expressions = dict(re.findall(r"- alert: (\w+)\n +expr: '(.*)'\n", text))
    for name in sorted(runbooks & set(names)):
        for what in lint_runbook(runbook_text(name), expressions.get(name)):
            findings.append(f"runbook {name}: {what}")
    for record in re.findall(r"- record: (\S+)", (HERE / "rules" / "dfks-recording.yaml").read_text(encoding="utf-8")):
        if not re.fullmatch(r"[a-z_]+:dfks_[a-z0-9_]+:[a-z0-9_]+", record):
            findings.append(f"record {record}: level:metric:operations")


def runbook_text(name):
    return (ROOT / "docs" / "runbooks" / f"{name}.md").read_text(encoding="utf-8")


def lint_runbook(text, expression):
    """What is wrong with a runbook: commands to copy first, and the alert's own expression before those that narrow."""
    heads = re.findall(r"^## (.*)$", text, re.M)
    if heads != HEADS:
        yield f"chapters {heads}"
    if not re.match(r"# \w+\n\n```sh\ndfks \w", text):
        yield "it begins with a command of dfks to copy"
    asked = queries(text)
    if asked[:1] != [expression]:
        yield f"its first query is the alert's expression: {expression}"
    if not any(re.search(r"\bby \([^)]*\b(instance|feature|stream|consumer)\b", one) for one in asked[1:]):
        yield "a query that narrows it down, by instance or what else the alert is about"
    for alert in re.findall(r"\bDfks[A-Z]\w+", text):
        if not (ROOT / "docs" / "runbooks" / f"{alert}.md").exists():
            yield f"no runbook {alert}"


def queries(text):
    """The PromQL of a runbook, one expression a line."""
    blocks = re.findall(r"^```promql\n(.*?)^```$", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def as_rules():
    """All queries of the runbooks as recording rules, so that promtool reads them."""
    names = sorted(path.stem for path in (ROOT / "docs" / "runbooks").glob("Dfks*.md"))
    rules = [
        {"record": f"{name}:{at}", "expr": expr}
        for name in names
        for at, expr in enumerate(queries(runbook_text(name)))
    ]
    return {"groups": [{"name": "runbooks", "rules": rules}]}


def main():
    if "--queries" in sys.argv[1:]:
        # JSON is YAML
        print(json.dumps(as_rules(), indent=1))
        return
    findings, uids = [], set()
    for path in sorted((HERE / "dashboards").glob("*.json")):
        lint_board(path.name, json.loads(path.read_text(encoding="utf-8")), findings, uids)
    lint_rules(findings)
    print("\n".join(findings) or f"{len(uids)} dashboards, alerts and runbooks: nothing to complain about")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
