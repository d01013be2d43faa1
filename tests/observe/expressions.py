"""Every expression of the dashboards and of the rules, as the observed run asks it."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "grafana/rules"
# the window of a dashboard's rates: ten scrapes
RATE_INTERVAL = "10s"


def hurried(rules):
    """Rules for a short run: what is looked at over minutes, or may wait for minutes, is so for seconds here."""
    seconds = re.sub(r"\[(\d+)m\]", r"[\1s]", rules).replace("[5s]", "[10s]").replace("> 120", "> 2")
    return re.sub(r"\bfor: \d+m\b", "for: 1s", seconds)


def plain(expression):
    """An expression of a dashboard as Grafana asks it, with every variable at All."""
    expression = expression.replace("$__rate_interval", RATE_INTERVAL).replace("$datasource", "x")
    for variable in ("job", "namespace", "instance"):
        expression = expression.replace(f'"${variable}"', '".*"').replace(f'"${variable}|"', '".*"')
    return expression


def compared(expression):
    """What an alert compares: its expression without the comparison, so that it has a value also when all is well."""
    comparison = r"\s(?:>=?|<=?|==|!=)\s(?:bool\s)?[0-9.e+-]+(?=\s|\)|$)"
    return re.sub(comparison, " ", expression)


def rules():
    """Each rule: its kind (alert or record), its name, its expression. The files are read by their lines."""
    for path in sorted(RULES.glob("*.yaml")):
        kind = name = None
        for line in one_line_each(path.read_text(encoding="utf-8")).splitlines():
            if begins := re.match(r"\s*- (alert|record): (\S+)", line):
                kind, name = begins.groups()
            elif expression := re.match(r"\s*expr: '?(.*?)'?$", line):
                yield kind, name, hurried(expression[1].replace("''", "'"))


def one_line_each(text):
    """The text of a rule file with every expression on one line."""
    block = r"expr: [|>]-?\n((?: {10,}.*\n)+)"
    return re.sub(block, lambda found: "expr: " + " ".join(found[1].split()) + "\n", text)


def alerts():
    return {name: expression for kind, name, expression in rules() if kind == "alert"}


def runbooks():
    """Each query of a runbook beside its alert's own: the runbook's name, the query."""
    for path in sorted((ROOT / "docs/runbooks").glob("Dfks*.md")):
        block = re.search(r"^```promql\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        asked = [line for line in block[1].splitlines() if not line.startswith("#")]
        for query in asked[1:]:
            yield path.stem, hurried(query)


def boards():
    """Each dashboard: its name, its content."""
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))
