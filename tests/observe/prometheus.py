"""The Prometheus of the observed run: what it looks at, and what it has seen.

A failure that lasts for less than a scrape interval leaves no trace, and on a slow machine any failure may. So nothing
here lasts for a fixed time: a failure goes on until Prometheus has seen it (`until_fired`).
"""

import asyncio
import json
import math
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

from expressions import RULES, alerts, hurried

CONFIG = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: ['rules/*.yaml']
scrape_configs:
  - job_name: dfks
    static_configs:
{targets}
"""
# a legend is read by names, which the chart's ServiceMonitor gives too, not by addresses
TARGET = "      - {{ targets: ['{address}'], labels: {{ namespace: voip, instance: {name} }} }}"
# A sample is looked at until the next one comes, a second later: looked at less often than that, it can be overlooked.
STEP_SECONDS = 0.5
# How long a failure may take until it is seen.
PATIENCE_SECONDS = 60


def has_value(series):
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])


class Prometheus:
    def __init__(self, address, least_seconds=0):
        """`least_seconds`: how long each failure goes on, also when it is seen sooner."""
        self.address, self.least_seconds, self.began_at = address, least_seconds, None
        self.alerts, self.fired = alerts(), set()

    def command(self, folder, targets):
        """Writes its configuration, with targets by name; what starts it."""
        lines = "\n".join(TARGET.format(name=name, address=address) for name, address in targets.items())
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=lines), encoding="utf-8")
        (folder / "rules").mkdir()
        for rules in RULES.glob("*.yaml"):
            text = hurried(rules.read_text(encoding="utf-8")).replace("interval: 30s", "interval: 1s")
            (folder / "rules" / rules.name).write_text(text, encoding="utf-8")
        return [
            shutil.which("prometheus"),
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=tsdb",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
        ]

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2).status == 200
        except OSError:
            return False

    def has_looked(self, count):
        """Whether it has looked at each of so many processes a few times: what happens from then on is a change."""
        return self.ask("query", query=f"min(count_over_time(up[1m])) >= 3 and count(up) == {count}")["result"]

    def begin(self):
        """What is asked about begins now."""
        self.began_at = time.time()

    def ask(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, expression, step=1):
        """The series of an expression since the beginning."""
        try:
            asked = {"query": expression, "start": self.began_at, "end": time.time(), "step": step}
            return self.ask("query_range", **asked)["result"]
        except urllib.error.HTTPError as error:
            print(f"refused: {expression}: {json.load(error)['error']}")
            return []

    def has_fired(self, alert):
        """Whether what an alert looks for was there at any time."""
        if alert not in self.fired and has_value(self.values(self.alerts[alert], STEP_SECONDS)):
            self.fired.add(alert)
        return alert in self.fired

    async def until_fired(self, happen, *names):
        """Lets it happen again and again until each of the alerts has fired.

        Not for ever: the judge says what is missing then.
        """
        waiting, took, began = set(names), 0, time.monotonic()
        while took < (PATIENCE_SECONDS if waiting else self.least_seconds):
            await happen()
            for name in sorted(waiting):
                if await asyncio.to_thread(self.has_fired, name):
                    waiting.remove(name)
            took = time.monotonic() - began
        self.say(f"{', '.join(names)} after {took:.1f} s")
        if waiting:
            self.say(f"not seen: {', '.join(sorted(waiting))}")

    def say(self, what):
        print(f"{time.time() - self.began_at:6.1f} s  {what}", flush=True)
