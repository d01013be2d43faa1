"""One run under load, scraped by a real Prometheus: observe.py DFKS [FOLDER]. What has to hold:

- every expression of every panel, variable and recording rule has a value, and so has what every alert compares (a panel that shows
  only what is above 0 may be empty when that did not happen, but its series have to be there);
- `promtool check metrics` finds nothing in what each process serves;
- every metric that they use is in /metrics, and every metric in /metrics is used by them or documented.

The failures that the expressions look at are made to happen. With FOLDER the values of every panel are written there, to be drawn.
"""

import asyncio
import json
import math
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nats
from phone import Phone, hung_up_phone
from scene import ROOT, Scene

SECONDS = 45
DOMAIN = "example.com"
SCRIPT = 'fn dfks_set(dfks) { if dfks.presentity.contains("broken") { let x = dfks.nothing; } if dfks.presentity.contains("deny") { deny("no"); } }\nfn dfks_get(dfks) { if dfks.presentity.contains("broken") { dfks.nothing = 1; } }\n'
USERS = "alice:example.com:" + "0" * 32 + "\n"


def presentity(name):
    return f"sip:{name}@{DOMAIN}"


async def responders(bus):
    async def ok(msg):
        await msg.respond(b'{"status":1}')

    async def denies(msg):
        await msg.respond(b'{"error":{"code":403,"description":"not on this tariff"}}')

    async def late(_msg):
        await asyncio.sleep(0)

    async def fails(msg):
        await msg.respond(b"no JSON")

    for way in ("get", "set"):
        await bus.subscribe(f"dfks.responder.{way}.example_com.CallForwardingBusy", cb=ok)
        await bus.subscribe(f"dfks.responder.{way}.late_example_com.*", cb=late)
        await bus.subscribe(f"dfks.responder.{way}.fails_example_com.*", cb=fails)
    await bus.subscribe("dfks.responder.set.example_com.CallForwardingAlways", cb=denies)


async def ask(bus, subject, **payload):
    try:
        await bus.request(subject, json.dumps(payload).encode(), timeout=2)
    except nats.errors.Error:
        pass


def mi(address, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "dfks_set_feature", "params": list(params)}).encode()
    try:
        urllib.request.urlopen(f"http://{address}/mi", body, timeout=3).read()
    except OSError:
        pass


async def phones(server, bridge, until):
    """Phones that work, and services that command them."""
    all_of_them = [await Phone(server, presentity(f"u{at % 10}")).open() for at in range(20)]
    for phone in all_of_them:
        await phone.send()
    turn = 0
    while time.monotonic() < until:
        turn += 1
        phone = all_of_them[turn % len(all_of_them)]
        await phone.press(turn % 2)
        await asyncio.to_thread(mi, bridge, presentity(f"u{turn % 10}"), "CallForwardingNoAnswer", 1, ["ringCount/3"])
        await asyncio.sleep(0.05)


async def odd_phones(server, stream):
    """Phones that answer badly, late, or not at all; and requests that are refused."""
    for name, answers in (("gone", 481), ("ill", 500), ("silent", 0), ("gone", 404)):
        phone = await Phone(server, presentity(name), answers=answers).open()
        await phone.send()
    await hung_up_phone(stream, presentity("hung-up"))
    for name in ("broken", "deny"):
        phone = await Phone(server, presentity(name)).open()
        await phone.send()
        await phone.press(True)
    for tenant in ("late", "fails"):
        phone = await Phone(server, f"sip:a@{tenant}.{DOMAIN}").open()
        await phone.send()


async def refused(server, guarded, web, until):
    """What is refused, again and again."""
    phone = await Phone(server, presentity("odd")).open()
    await phone.send()
    while time.monotonic() < until:
        await phone.send(body="<no xml")
        await phone.send(method="PUBLISH")
        phone.transport.sendto(b"garbage\r\n\r\n")
        short = await Phone(server, presentity("short")).open()
        await short.send(expires=5)
        stranger = await Phone(guarded, presentity("alice"), user="alice", password="wrong").open()
        await stranger.send()
        try:
            reader, writer = await asyncio.open_connection(*web)
            writer.write(b"no WebSocket\r\n\r\n")
            await asyncio.wait_for(reader.read(), 2)
            writer.close()
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(1)


async def flood(server, source, seconds):
    phone = await Phone(server, presentity("flood")).open(source)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20):
            phone.request()
        await asyncio.sleep(0.02)


async def commands(bus, until):
    stream = bus.jetstream()
    turn = 0
    while time.monotonic() < until:
        turn += 1
        await ask(bus, "dfks.set", presentity=presentity(f"u{turn % 10}"), feature="DoNotDisturb", status=turn % 2)
        await ask(bus, "dfks.set", presentity=presentity("u1"), feature="CallForwardingAlways", status=1)
        await ask(bus, "dfks.set", presentity=presentity("u1"), feature="Nonsense", status=1)
        await ask(bus, "dfks.set", presentity=presentity("broken"), feature="DoNotDisturb", status=1)
        await ask(bus, "dfks.set", presentity=presentity("gone"), feature="DoNotDisturb", status=1)
        await ask(bus, "dfks.get", presentity=presentity("u1"))
        await ask(bus, "dfks.watchers")
        if turn < 40:
            await ask(bus, "dfks.set", presentity=f"sip:a@fails.{DOMAIN}", feature="DoNotDisturb", status=1)
            await ask(bus, "dfks.set", presentity=f"sip:a@late.{DOMAIN}", feature="DoNotDisturb", status=1)
        try:
            for payload in ({"presentity": presentity("u2"), "feature": "DoNotDisturb", "status": turn % 2}, {"feature": "DoNotDisturb"}):
                await stream.publish("dfks.command.set", json.dumps(payload).encode(), timeout=2)
        except nats.errors.Error:
            pass
        await asyncio.sleep(0.1)


async def happen(scene):
    """Everything that the expressions look at."""
    await scene.nats()
    script, users = scene.work / "routes.rhai", scene.work / "users"
    script.write_text(SCRIPT, encoding="utf-8")
    users.write_text(USERS, encoding="utf-8")
    sip = 'sip.listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "ws:127.0.0.1:0"]\nmi.http = ""\n'
    edge = await asyncio.to_thread(scene.run, "edge", "edge", sip + 'sip.edge_id = "edge-0"\nsip.rate_limit_exempt = ["127.0.0.1/32"]\nsip.max_subscriptions = 60\n')
    digest = await asyncio.to_thread(scene.run, "edge-digest", "edge", sip + f'sip.edge_id = "edge-1"\nsip.auth.mode = "digest"\nsip.auth.users = "{users}"\nsip.rate_limit_exempt = ["127.0.0.0/8"]\n')
    await asyncio.to_thread(scene.run, "worker", "worker", f'mi.http = ""\nroutes.script = "{script}"\n')
    bridge = (await asyncio.to_thread(scene.run, "mi", "mi", 'mi.http = "127.0.0.1:0"\n'))["http"]
    await asyncio.to_thread(scene.prometheus)
    await asyncio.sleep(3)
    listeners = edge["udp"], edge["tcp"], edge["ws"], digest["udp"]
    server, stream, web, guarded = ((host, int(port)) for host, port in (at.split(":") for at in listeners))
    bus = await nats.connect(scene.nats_url)
    await responders(bus)
    until = time.monotonic() + SECONDS

    async def troubles():
        await odd_phones(server, stream)
        await flood(server, "127.0.0.2", 5)
        script.write_text("fn dfks_set(dfks) {", encoding="utf-8")
        await asyncio.sleep(10)
        scene.relay.is_away = True
        scene.relay.cut()
        await Phone(server, presentity("away")).open()
        await asyncio.sleep(4)
        scene.relay.is_away = False

    await asyncio.gather(phones(server, bridge, until), commands(bus, until), refused(server, guarded, web, until), troubles())
    await asyncio.sleep(3)
    await bus.close()


def plain(expression):
    """An expression as Grafana asks it, with every variable at All."""
    return expression.replace("$__rate_interval", "10s").replace("$__range", f"{SECONDS}s").replace("$datasource", "x").replace('"$job"', '".*"').replace('"$namespace"', '".*"').replace('"$instance"', '".*"')


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
        text = re.sub(r"expr: [|>]-?\n((?: {10,}.*\n)+)", lambda found: "expr: " + " ".join(found[1].split()) + "\n", path.read_text(encoding="utf-8"))
        for line in text.splitlines():
            kind = re.match(r"\s*- (alert|record): (\S+)", line)
            if kind:
                name = kind.groups()
            found = re.match(r"\s*expr: '?(.*?)'?$", line)
            if found:
                # on five minutes in production, on as many seconds here
                yield *name, re.sub(r"\[(\d+)m\]", r"[\1s]", found[1].replace("''", "'")).replace("[5s]", "[10s]")


def boards():
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def judge(scene, folder):
    wrong, quiet, asked, fired, drawn = [], [], 0, set(), {}
    for board, content in boards():
        for panel in content["panels"]:
            for target in panel.get("targets", []):
                asked += 1
                series = values(scene, plain(target["expr"]))
                drawn.setdefault(board, []).append({"panel": panel["title"], "type": panel["type"], "unit": panel.get("fieldConfig", {}).get("defaults", {}).get("unit"), "grid": panel["gridPos"], "legend": target.get("legendFormat", ""), "series": series})
                if not has_value(series) and target["expr"].endswith(" > 0") and has_value(values(scene, plain(target["expr"])[:-4])):
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
        if kind == "alert" and has_value(values(scene, expression)):
            fired.add(name)
        elif not has_value(values(scene, compared(expression))) and not expression.startswith("absent("):
            wrong.append(f"{kind} {name}: no value of {compared(expression)}")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "values.json").write_text(json.dumps(drawn), encoding="utf-8")
    return wrong, quiet, asked, fired


def metrics(scene):
    """Names: what /metrics has, what expressions use, what documents say."""
    text = "\n".join(scene.metrics(name) for name in scene.urls)
    served = set(re.findall(r"^# TYPE (\w+)", text, re.M))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "grafana").glob("*/*.*") if path.suffix in (".json", ".yaml")]
    used = set(re.findall(r"(?<![:\w])((?:dfks|process)_[a-z0-9_]+)(?=[\{\[])", "\n".join(sources)))
    used = {re.sub(r"_(?:bucket|sum|count)$", "", name) if re.sub(r"_(?:bucket|sum|count)$", "", name) in served else name for name in used}
    documents = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    told = set(re.findall(r"(?:dfks|process)_[a-z0-9_]+", documents))
    return [f"{name} is used, and not in /metrics" for name in sorted(used - served)] + [f"{name} is in /metrics, and neither used nor documented" for name in sorted(served - used - told)]


def linted(scene):
    """What promtool finds."""
    found = [subprocess.run(["promtool", "check", "metrics"], input=scene.metrics(name), text=True, capture_output=True, check=False) for name in scene.urls]
    return [line for one in found for line in (one.stdout + one.stderr).splitlines() if line or one.returncode]


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
    print(f"observe: {asked} expressions over a run of {SECONDS} s, {len(wrong)} wrong; {len(fired)} alerts would have fired: {', '.join(sorted(fired))}")
    sys.exit(bool(wrong))


asyncio.run(main())
