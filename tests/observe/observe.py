"""One run under load, scraped by a real Prometheus: observe.py DFKS [FOLDER]. What has to hold:

- every expression of every panel, variable and recording rule has a value (a panel that shows only what is above 0 may
  be empty when that did not happen, but its series have to be there), and every alert would have fired;
- `promtool check metrics` finds nothing in what each process serves;
- every metric that they use is in /metrics, and every metric in /metrics is used by them or documented.

The failures that the expressions look at are made to happen, each until Prometheus has seen it. With FOLDER the values
of every panel are written there, to be drawn.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from happen import happen
from judge import judge, linted, metrics
from scene import Scene


def main():
    dfks, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as work:
        # a failure that is to be seen in a picture has some width
        scene = Scene(work, dfks, least_seconds=4 if folder else 0)
        try:
            asyncio.run(happen(scene))
            seconds = time.time() - scene.prometheus.began_at
            verdict = judge(scene.prometheus)
            wrong = verdict.wrong + metrics(scene) + linted(scene)
        finally:
            scene.stop_all()
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "values.json").write_text(json.dumps(verdict.drawn), encoding="utf-8")
    print("\n".join(wrong))
    print(f"shown only when something is lost, and nothing was: {'; '.join(verdict.quiet) or 'none'}")
    print(
        f"observe: {verdict.asked} expressions over a run of {seconds:.0f} s, {len(wrong)} wrong; "
        f"{verdict.fired} alerts would have fired"
    )
    sys.exit(bool(wrong))


main()
