#!/usr/bin/env python3
"""Writes grafana/dashboards from grafana/boards: build.py [--check | --console URL FOLDER].

With --check it only says whether they are up to date. With --console it writes dashboards and rules into FOLDER, as
they are but for links to the console that is at URL.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from boards import bus_worker, edge, mi_notify, overview  # noqa: E402
from model import BOARDS, DATASOURCE, RUNBOOKS  # noqa: E402

SOURCES = {"dfks-overview": overview, "dfks-edge": edge, "dfks-bus-worker": bus_worker, "dfks-mi-notify": mi_notify}


def variable(name, label, query, description):
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # also what has no such label: a Prometheus outside Kubernetes has no namespaces
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def variables():
    datasource = {
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes dfks.",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "current": {},
        "options": [],
        "regex": "",
    }
    inner = 'dfks_build_info{job=~"$job",namespace=~"$namespace"}'
    return [
        datasource,
        variable("job", "Job", "label_values(dfks_build_info, job)", "Scrape job."),
        variable(
            "namespace",
            "Namespace",
            'label_values(dfks_build_info{job=~"$job"}, namespace)',
            "Kubernetes namespace, where there are any.",
        ),
        variable("instance", "Instance", f"label_values({inner}, instance)", "Process."),
    ]


def links():
    board = {
        "type": "dashboards",
        "title": "dfks",
        "tags": ["dfks"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }
    runbooks = {"type": "link", "title": "Runbooks", "url": RUNBOOKS, "icon": "doc", "tags": [], "targetBlank": True}
    return [board, runbooks]


def placed(panels):
    """From left to right, a new line where the width of 24 is used up or a row begins."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
        if panel["type"] == "row":
            panel["gridPos"] = {"x": 0, "y": y + height, "w": 24, "h": 1}
            x, y, height = 0, y + height + 1, 0
            continue
        grid = panel["gridPos"]
        if x + grid["w"] > 24:
            x, y, height = 0, y + height, 0
        grid |= {"x": x, "y": y}
        x, height = x + grid["w"], max(height, grid["h"])
    return panels


def dashboard(uid):
    source = SOURCES[uid]
    return {
        "uid": uid,
        "title": BOARDS[uid],
        "description": " ".join(source.__doc__.split()),
        "tags": ["dfks"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables()},
        "annotations": {"list": []},
        "links": links(),
        "panels": placed(source.panels()),
    }


def with_console(url, folder):
    """Dashboards with a link to the console, and rules whose alerts have it as the annotation `console`."""
    if not re.fullmatch(r"https?://[^/@?#\s\"{}]+(/[^?#\s\"{}]*)?", url):
        sys.exit(f"--console {url}: http:// or https://, a host, and at most a path")
    link = {"type": "link", "title": "Console", "url": url, "icon": "external link", "tags": [], "targetBlank": True}
    for kind in ("dashboards", "rules"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for uid in SOURCES:
        board = dashboard(uid)
        board["links"].insert(0, link)
        write(folder / "dashboards" / f"{uid}.json", text_of(board))
    for path in (HERE / "rules").glob("*.yaml"):
        rules = re.sub(
            r"^( *)runbook_url: .*$", rf'\g<0>\n\1console: "{url}"', path.read_text(encoding="utf-8"), flags=re.M
        )
        write(folder / "rules" / path.name, rules)
    print(f"written: {folder}")


def text_of(board):
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")


def main():
    if sys.argv[1:2] == ["--console"]:
        if len(sys.argv) != 4:
            sys.exit("build.py --console URL FOLDER")
        with_console(sys.argv[2], Path(sys.argv[3]))
        return
    is_check = "--check" in sys.argv[1:]
    stale = []
    for uid in SOURCES:
        path = HERE / "dashboards" / f"{uid}.json"
        text = text_of(dashboard(uid))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if not is_check:
                write(path, text)
    if is_check and stale:
        sys.exit(f"not what grafana/build.py writes: {', '.join(stale)}")
    print("up to date" if not stale else f"written: {', '.join(stale)}")


if __name__ == "__main__":
    main()
