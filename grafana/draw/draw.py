#!/usr/bin/env python3
"""Draws the dashboards of an observed run: draw.py VALUES_JSON PAGE_JS FOLDER. Needs Debian's chromium; `make draw` calls it."""

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
]
CHROMIUM += ["--disable-component-update", "--disable-sync", "--disable-quic", "--virtual-time-budget=8000"]


def main():
    values, script, folder = (
        json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")),
        Path(sys.argv[2]).resolve(),
        Path(sys.argv[3]).resolve(),
    )
    style = script.with_suffix(".css")
    folder.mkdir(parents=True, exist_ok=True)
    for board, targets in values.items():
        panels = {}
        for target in targets:
            grid = target["grid"]
            panel = panels.setdefault(
                (target["panel"], grid["x"], grid["y"]),
                {"title": target["panel"], "type": target["type"], "unit": target["unit"], "grid": grid, "targets": []},
            )
            panel["targets"].append({"legend": target["legend"], "series": target["series"]})
        title = json.loads((ROOT / f"grafana/dashboards/{board}.json").read_text(encoding="utf-8"))["title"]
        content = {"title": title, "panels": list(panels.values()), "width": WIDTH}
        height = max(panel["grid"]["y"] + panel["grid"]["h"] for panel in content["panels"]) * 30 + 60
        with tempfile.TemporaryDirectory() as work:
            page = Path(work, "page.html")
            board_json = json.dumps(content).replace("<", "\\u003c")
            page.write_text(
                f'<meta charset="utf-8"><link rel="stylesheet" href="file://{style}"><body style="margin:0;background:#f4f5f5"><div id="root"></div><script>window.BOARD={board_json}</script><script src="file://{script}"></script>',
                encoding="utf-8",
            )
            picture = folder / f"{board}.png"
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


main()
