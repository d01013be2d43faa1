"""The chart, lent a stand-in for its dependency, rendered for each preset."""

import copy
import functools
import os
import pathlib
import shutil
import tempfile

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "dfks"
STAND_IN = pathlib.Path(__file__).parent / "stand-in"
RELEASE, NAMESPACE = "phones", "voice"
ROLES = ("edge", "worker", "mi")


def dfks():
    """The program that the chart runs: `DFKS_BIN`, else the newest that was built."""
    named = os.environ.get("DFKS_BIN")
    if named:
        return pathlib.Path(named).resolve()
    built = [path for path in (ROOT / "target/debug/dfks", ROOT / "target/release/dfks") if path.exists()]
    if not built:
        raise FileNotFoundError("no dfks binary: build one (cargo build), or name it in DFKS_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)


def presets():
    return {
        path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text())
        for path in sorted((CHART / "ci").glob("*.yaml"))
    }


def over(base, more):
    """Values over others, as Helm merges them."""
    base = copy.deepcopy(base)
    for key, value in more.items():
        base[key] = over(base.get(key) or {}, value) if isinstance(value, dict) else value
    return base


@functools.cache
def complete():
    """A copy of the chart whose dependency is there.

    The NATS chart where `helm dependency update` got it, else the stand-in.
    """
    copy = pathlib.Path(tempfile.mkdtemp(prefix="dfks-chart-")) / "dfks"
    shutil.copytree(CHART, copy)
    if not list((copy / "charts").glob("nats*")):
        shutil.copytree(STAND_IN, copy / "charts", dirs_exist_ok=True)
    return copy


def render(values, release=RELEASE):
    """Every object that Helm would send, hooks included, and the notes."""
    with helm_python.Chart.load(str(complete())) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=release, namespace=NAMESPACE, is_install=True)
    notes = "".join(text for name, text in files.items() if name.endswith("NOTES.txt"))
    objects = [
        item
        for name, text in files.items()
        if not name.endswith("NOTES.txt")
        for item in yaml.safe_load_all(text)
        if item
    ]
    return [
        item for item in objects if item.get("spec", {}).get("selector") != {"app.kubernetes.io/name": "nats-stand-in"}
    ], notes


def named(objects, kind, name):
    found = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return found[0]


def workloads(objects):
    return [item for item in objects if item["kind"] in ("StatefulSet", "DaemonSet", "Deployment")]


def role_of(item):
    return item["metadata"]["labels"]["app.kubernetes.io/component"]


def container(item):
    spec = item["spec"]["template"]["spec"] if "template" in item["spec"] else item["spec"]
    (only,) = spec["containers"]
    return spec, only
