"""One run under load, scraped by a real Prometheus: observe.py DFKS [FOLDER]. What has to hold:

- every expression of every panel, variable and recording rule has a value (a panel that shows only what is above 0 may be empty
  when that did not happen, but its series have to be there), and every alert would have fired;
- `promtool check metrics` finds nothing in what each process serves;
- every metric that they use is in /metrics, and every metric in /metrics is used by them or documented.

The failures that the expressions look at are made to happen. With FOLDER the values of every panel are written there, to be drawn.
"""

import asyncio
import sys
import tempfile

from happen import SECONDS, happen
from judge import judge, linted, metrics
from scene import Scene


async def main():
    dfks, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as work:
        scene = Scene(work, dfks)
        try:
            await happen(scene)
            wrong, quiet, asked, fired = judge(scene, folder)
            wrong += metrics(scene) + linted(scene)
        finally:
            scene.stop_all()
    print("\n".join(wrong))
    print(f"shown only when something is lost, and nothing was: {'; '.join(quiet) or 'none'}")
    print(
        f"observe: {asked} expressions over a run of {SECONDS} s, {len(wrong)} wrong; {fired} alerts would have fired"
    )
    sys.exit(bool(wrong))


asyncio.run(main())
