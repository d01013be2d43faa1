"""What has to hold of an observed run: expressions have values, alerts fire, metrics are used or documented, promtool finds nothing."""

import json
import math
import re
import subprocess
import time
import urllib.error
from pathlib import Path

from happen import SECONDS
from scene import ROOT, hurried


def plain(expression):
    """An expression as Grafana asks it, with every variable at All."""
    return (
        expression.replace("$__rate_interval", "10s")
        .replace("$__range", f"{SECONDS}s")
        .replace("$datasource", "x")
        .replace('"$job"', '".*"')
        .replace('"$namespace"', '".*"')
        .replace('"$instance"', '".*"')
    )


def has_value(series):
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])


def values(scene, expression, step=1):
    try:
        return scene.ask("query_range", query=expression, start=scene.began_at, end=time.time(), step=step)["result"]
    except urllib.error.HTTPError as error:
        print(f"refused: {expression}: {json.load(error)['error']}")
        return []


def compared(expression):
    """What an alert compares: its expression without the comparison, so that it has a value also when all is well."""
    return re.sub(r"\s(?:>=?|<=?|==|!=)\s(?:bool\s)?[0-9.e+-]+(?=\s|\)|$)", " ", expression)


def rules():
    for path in sorted((ROOT / "grafana/rules").glob("*.yaml")):
        name = None
        # an expression over several lines is one
        text = re.sub(
            r"expr: [|>]-?\n((?: {10,}.*\n)+)",
            lambda found: "expr: " + " ".join(found[1].split()) + "\n",
            path.read_text(encoding="utf-8"),
        )
        for line in text.splitlines():
            kind = re.match(r"\s*- (alert|record): (\S+)", line)
            if kind:
                name = kind.groups()
            found = re.match(r"\s*expr: '?(.*?)'?$", line)
            if found:
                yield *name, hurried(found[1].replace("''", "'"))


def boards():
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def judge(scene, folder):
    wrong, quiet, asked, fired, drawn = [], [], 0, 0, {}
    for board, content in boards():
        for panel in content["panels"]:
            for target in panel.get("targets", []):
                asked += 1
                series = values(scene, plain(target["expr"]))
                drawn.setdefault(board, []).append(
                    {
                        "panel": panel["title"],
                        "type": panel["type"],
                        "unit": panel.get("fieldConfig", {}).get("defaults", {}).get("unit"),
                        "grid": panel["gridPos"],
                        "legend": target.get("legendFormat", ""),
                        "series": series,
                    }
                )
                if (
                    not has_value(series)
                    and target["expr"].endswith(" > 0")
                    and has_value(values(scene, plain(target["expr"])[:-4]))
                ):
                    quiet.append(f"{board}, {panel['title']}: {target['legendFormat']}")
                elif not has_value(series):
                    wrong.append(f"{board}, {panel['title']}: no value of {plain(target['expr'])}")
        for variable in content["templating"]["list"]:
            if variable["type"] == "query":
                asked += 1
                metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", plain(variable["definition"])).groups()
                if not any(label in one["metric"] for one in values(scene, metric)):
                    wrong.append(f"{board}, variable {variable['name']}: no value")
    for kind, name, expression in rules():
        asked += 1
        if has_value(values(scene, expression)):
            fired += kind == "alert"
        elif kind == "alert" and has_value(values(scene, compared(expression))):
            highest = max(float(value) for one in values(scene, compared(expression)) for _, value in one["values"])
            wrong.append(f"alert {name} did not fire, with {highest:g} at most: {expression}")
        else:
            wrong.append(f"{kind} {name}: no value of {expression}")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "values.json").write_text(json.dumps(drawn), encoding="utf-8")
    return wrong, quiet, asked, fired


def metrics(scene):
    """Names: what /metrics has, what expressions use, what documents say."""
    text = "\n".join(scene.metrics(name) for name in scene.urls)
    served = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "grafana").glob("*/*.*")
        if path.suffix in (".json", ".yaml")
    ]
    used = set(re.findall(r"(?<![:\w])((?:dfks|process)_[a-z0-9_]+)(?=[\{\[])", "\n".join(sources)))
    used = {
        re.sub(r"_(?:bucket|sum|count)$", "", name) if re.sub(r"_(?:bucket|sum|count)$", "", name) in served else name
        for name in used
    }
    documents = "\n".join(
        path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    )
    told = set(re.findall(r"(?:dfks|process)_[a-z0-9_]+", documents))
    return [f"{name} is used, and not in /metrics" for name in sorted(used - served)] + [
        f"{name} is in /metrics, and neither used nor documented" for name in sorted(served - used - told)
    ]


def linted(scene):
    """What promtool finds."""
    found = [
        subprocess.run(
            ["promtool", "check", "metrics"], input=scene.metrics(name), text=True, capture_output=True, check=False
        )
        for name in scene.urls
    ]
    return [line for one in found for line in (one.stdout + one.stderr).splitlines() if line or one.returncode]
