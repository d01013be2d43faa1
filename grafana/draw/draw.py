#!/usr/bin/env python3
"""Draws the dashboards of an observed run: draw.py VALUES_JSON PAGE_JS FOLDER.

Needs Debian's chromium; `make draw` calls it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH = 1500
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--virtual-time-budget=8000",
]
PAGE = """<meta charset="utf-8">
<link rel="stylesheet" href="file://{style}">
<body style="margin:0;background:#f4f5f5">
<div id="root"></div>
<script>window.BOARD={board}</script>
<script src="file://{script}"></script>
"""


def panels(targets):
    """The targets of a dashboard by the panel that they stand in."""
    found = {}
    for target in targets:
        grid = target["grid"]
        panel = found.setdefault(
            (target["panel"], grid["x"], grid["y"]),
            {"title": target["panel"], "type": target["type"], "unit": target["unit"], "grid": grid, "targets": []},
        )
        panel["targets"].append({"legend": target["legend"], "series": target["series"]})
    return list(found.values())


def draw(content, script, picture):
    height = max(panel["grid"]["y"] + panel["grid"]["h"] for panel in content["panels"]) * 30 + 60
    board = json.dumps(content).replace("<", "\\u003c")
    with tempfile.TemporaryDirectory() as work:
        page = Path(work, "page.html")
        page.write_text(PAGE.format(style=script.with_suffix(".css"), board=board, script=script), encoding="utf-8")
        command = [
            *CHROMIUM,
            f"--user-data-dir={work}/profile",
            f"--window-size={WIDTH},{height}",
            f"--screenshot={picture}",
            "--allow-file-access-from-files",
            f"file://{page}",
        ]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"{picture}: {picture.stat().st_size} bytes")


def main():
    values, script, folder = (Path(argument).resolve() for argument in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    for board, targets in json.loads(values.read_text(encoding="utf-8")).items():
        title = json.loads((ROOT / f"grafana/dashboards/{board}.json").read_text(encoding="utf-8"))["title"]
        draw({"title": title, "panels": panels(targets), "width": WIDTH}, script, folder / f"{board}.png")


main()
