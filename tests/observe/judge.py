"""What has to hold of an observed run.

Expressions have values, alerts fire, metrics are used or documented, promtool finds nothing.
"""

import dataclasses
import re
import subprocess

from expressions import ROOT, boards, compared, plain, rules, runbooks
from prometheus import has_value

METRIC = r"(?:dfks|process)_[a-z0-9_]+"


@dataclasses.dataclass
class Verdict:
    """What was found about the expressions."""

    asked: int = 0
    fired: int = 0
    wrong: list = dataclasses.field(default_factory=list)
    quiet: list = dataclasses.field(default_factory=list)
    # for each dashboard, panel and target the series, to be drawn
    drawn: dict = dataclasses.field(default_factory=dict)


def judge(prometheus):
    verdict = Verdict()
    for board, content in boards():
        for panel in content["panels"]:
            for target in panel.get("targets", []):
                judge_target(prometheus, board, panel, target, verdict)
        for variable in content["templating"]["list"]:
            if variable["type"] == "query":
                judge_variable(prometheus, board, variable, verdict)
    for kind, name, expression in rules():
        judge_rule(prometheus, kind, name, expression, verdict)
    for name, query in runbooks():
        verdict.asked += 1
        if not has_value(prometheus.values(compared(query))):
            verdict.wrong.append(f"runbook {name}: no value of {query}")
    return verdict


def judge_target(prometheus, board, panel, target, verdict):
    """An expression of a panel has a value. Where it shows only what is above 0, it may be empty, but not without 0."""
    verdict.asked += 1
    expression = plain(target["expr"])
    series = prometheus.values(expression)
    verdict.drawn.setdefault(board, {}).setdefault(panel["id"], {})[target["refId"]] = series
    if has_value(series):
        return
    is_zero = expression.endswith(" > 0") and has_value(prometheus.values(expression.removesuffix(" > 0")))
    if is_zero:
        verdict.quiet.append(f"{board}, {panel['title']}: {target['legendFormat']}")
    else:
        verdict.wrong.append(f"{board}, {panel['title']}: no value of {expression}")


def judge_variable(prometheus, board, variable, verdict):
    """A variable has something to choose from."""
    verdict.asked += 1
    metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", plain(variable["definition"])).groups()
    if not any(label in one["metric"] for one in prometheus.values(metric)):
        verdict.wrong.append(f"{board}, variable {variable['name']}: no value")


def judge_rule(prometheus, kind, name, expression, verdict):
    """A recording rule has a value, and an alert has fired."""
    verdict.asked += 1
    if kind == "record":
        if not has_value(prometheus.values(expression)):
            verdict.wrong.append(f"record {name}: no value of {expression}")
    elif prometheus.has_fired(name):
        verdict.fired += 1
    else:
        found = [float(value) for one in prometheus.values(compared(expression)) for _, value in one["values"]]
        highest = f"{max(found):g} at most" if found else "no value"
        verdict.wrong.append(f"alert {name} did not fire, with {highest}: {expression}")


def metrics(scene):
    """Names: what /metrics has, what expressions use, what documents say."""
    served = set(re.findall(r"^# TYPE (\w+)", "\n".join(scene.metrics(name) for name in scene.urls), re.MULTILINE))
    sources = [path for path in (ROOT / "grafana").glob("*/*.*") if path.suffix in (".json", ".yaml")]
    used = {
        family(name, served) for name in re.findall(rf"(?<![:\w])({METRIC})(?=[\{{\[])", "\n".join(map(text, sources)))
    }
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    told = set(re.findall(METRIC, "\n".join(map(text, documents))))
    return [
        *(f"{name} is used, and not in /metrics" for name in sorted(used - served)),
        *(f"{name} is in /metrics, and neither used nor documented" for name in sorted(served - used - told)),
    ]


def text(path):
    return path.read_text(encoding="utf-8")


def family(name, served):
    """The metric that a series of a histogram belongs to."""
    histogram = re.sub(r"_(?:bucket|sum|count)$", "", name)
    return histogram if histogram in served else name


def linted(scene):
    """What promtool finds."""
    findings = []
    for name in scene.urls:
        command = ["promtool", "check", "metrics"]
        done = subprocess.run(command, input=scene.metrics(name), text=True, capture_output=True, check=False)
        findings += (done.stdout + done.stderr).splitlines()
        if done.returncode and not findings:
            findings.append(f"promtool check metrics of {name}: exit {done.returncode}")
    return findings
