#!/usr/bin/env python3
"""Draws the dashboards of an observed run: draw.py VALUES_JSON PAGE_JS FOLDER.

Needs Debian's chromium; `make draw` calls it. It fails when a number has another colour than its thresholds say.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from look import colour_of, meant_colour, read
from shrink import shrink

WIDTH = 1500
# as page.jsx has them
CELL_HEIGHT, TITLE_HEIGHT = 30, 45
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


def panels(board, values):
    """The panels of a dashboard with what was observed of each target, and as the dashboard says that they look."""
    return [
        {
            "title": panel["title"],
            "type": panel["type"],
            "grid": panel["gridPos"],
            "defaults": panel.get("fieldConfig", {}).get("defaults", {}),
            "targets": [
                {"legend": target["legendFormat"], "series": values[str(panel["id"])][target["refId"]]}
                for target in panel.get("targets", [])
            ],
        }
        for panel in board["panels"]
    ]


def draw(content, script, picture):
    height = max(panel["grid"]["y"] + panel["grid"]["h"] for panel in content["panels"]) * CELL_HEIGHT + TITLE_HEIGHT
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


def check(content, image, name):
    """What is not drawn in the colour that the dashboard gives its value."""
    wrong = []
    for panel in content["panels"]:
        if panel["type"] != "stat":
            continue
        grid = panel["grid"]
        left, right = (round(WIDTH / 24 * column) for column in (grid["x"], grid["x"] + grid["w"]))
        top, bottom = (TITLE_HEIGHT + CELL_HEIGHT * line for line in (grid["y"], grid["y"] + grid["h"]))
        drawn, meant = colour_of(image, (left, top, right, bottom)), meant_colour(panel)
        if meant and drawn != meant:
            wrong.append(f"{name}: {panel['title']!r} is drawn {drawn}, its thresholds say {meant}")
    return wrong


def main():
    values, script, folder = (Path(argument).resolve() for argument in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    wrong = []
    for name, of_panels in json.loads(values.read_text(encoding="utf-8")).items():
        board = json.loads((ROOT / f"grafana/dashboards/{name}.json").read_text(encoding="utf-8"))
        content = {"title": board["title"], "panels": panels(board, of_panels), "width": WIDTH}
        picture = folder / f"{name}.png"
        draw(content, script, picture)
        image = read(picture)
        wrong += check(content, image, name)
        shrink(image, picture)
        print(f"{picture}: {picture.stat().st_size} bytes")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
