"""Image, Compose and units: what can be checked without an engine."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import chart
import yaml

BIN = chart.ROOT / ".tools/deploy/bin"


def run(*command, **more):
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=chart.ROOT, check=False, **more)


class Image(unittest.TestCase):
    def test_the_dockerfiles_are_clean(self):
        done = run(BIN / "hadolint", "Dockerfile", "examples/kamailio/Dockerfile")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_it_copies_is_not_ignored(self):
        kept = {line[1:] for line in (chart.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        lines = [
            line.split()[1:-1]
            for line in (chart.ROOT / "Dockerfile").read_text().splitlines()
            if line.startswith("COPY ") and "--from" not in line
        ]
        copied = {name for names in lines for name in names}
        self.assertEqual(copied, kept)
        for name in kept:
            self.assertTrue((chart.ROOT / name).exists(), name)

    @unittest.skipUnless(os.geteuid() == 0, "chroot is for root")
    def test_the_program_runs_in_what_the_image_holds_and_not_as_root(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder).chmod(0o755)
            root = pathlib.Path(folder, "root")
            done = run("deploy/docker/rootfs", chart.dfks(), root)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = run("chroot", "--userspec=65532:65532", root, "/usr/bin/dfks", "check")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("[nats]", done.stdout)


class Compose(unittest.TestCase):
    def setUp(self):
        self.file = yaml.safe_load((chart.ROOT / "docker-compose.yaml").read_text())

    def test_it_is_what_compose_takes(self):
        check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        done = run(*check, "docker-compose.yaml", env=os.environ | {"PYTHONPATH": str(BIN.parent)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_files_and_volumes_are_there_and_ports_are_on_loopback(self):
        for name, service in self.file["services"].items():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                self.assertTrue(
                    (chart.ROOT / source).exists() if source.startswith("./") else source in self.file["volumes"],
                    volume,
                )
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_the_program_takes_its_configuration(self):
        for name in chart.ROLES:
            service = self.file["services"][name]
            self.assertEqual(service["command"][-1], name)
            env = {"PATH": os.environ["PATH"]} | service.get("environment", {})
            done = run(chart.dfks(), "check", "--config", "deploy/docker/dfks.toml", env=env)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn('url = "nats://nats:4222"', done.stdout)

    def test_prometheus_scrapes_each_role_and_grafana_finds_the_dashboards(self):
        prometheus = yaml.safe_load((chart.ROOT / "deploy/docker/prometheus.yaml").read_text())
        scraped = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
        self.assertEqual(scraped, [f"{role}:9464" for role in chart.ROLES])
        dashboards = yaml.safe_load((chart.ROOT / "deploy/docker/grafana/dashboards/dfks.yaml").read_text())
        provider = dashboards["providers"][0]
        mounted = dict(
            reversed(volume.split(":")[:2])
            for volume in self.file["services"]["grafana"]["volumes"]
            if volume.startswith("./")
        )
        self.assertEqual(mounted[provider["options"]["path"]], "./grafana/dashboards")


class Debian(unittest.TestCase):
    def test_the_program_takes_the_configuration(self):
        done = run(chart.dfks(), "check", "--config", "deploy/debian/dfks.toml", env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not there")
    def test_the_units_are_hardened(self):
        for unit in ("dfks.service", "dfks@.service"):
            done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", f"deploy/debian/{unit}")
            self.assertEqual(done.returncode, 0, done.stdout[-300:])


if __name__ == "__main__":
    unittest.main()
