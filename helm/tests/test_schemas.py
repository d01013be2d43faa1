"""Every object against the schema of its kind.

Kubernetes in three versions; the Prometheus operator's through Node (make helm-check-full).
"""

import json
import pathlib
import subprocess
import tempfile
import unittest

import chart
import kubernetes_validate

VERSIONS = ("1.30.0", "1.34.0", "1.37.0")
OPERATOR = "monitoring.coreos.com/v1"
NODE = chart.ROOT / ".tools/chart-node"


class Schemas(unittest.TestCase):
    def test_objects_are_what_kubernetes_takes(self):
        checked = 0
        for name, values in chart.presets().items():
            objects, _ = chart.render(values)
            for item in objects:
                if item["apiVersion"] == OPERATOR:
                    continue
                for version in VERSIONS:
                    with self.subTest(preset=name, kind=item["kind"], object=item["metadata"]["name"], version=version):
                        kubernetes_validate.validate(item, version, strict=True)
                        checked += 1
        self.assertGreater(checked, 100)

    def test_a_wrong_field_would_be_seen(self):
        objects, _ = chart.render(chart.presets()["default"])
        edge = chart.named(objects, "StatefulSet", f"{chart.RELEASE}-dfks-edge")
        edge["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(edge, VERSIONS[-1], strict=True)

    @unittest.skipUnless(NODE.exists(), "the operator's schemas come with make helm-check-full")
    def test_objects_are_what_the_prometheus_operator_takes(self):
        objects, _ = chart.render(chart.presets()["full-monitoring"])
        found = [item for item in objects if item["apiVersion"] == OPERATOR]
        self.assertEqual(sorted(item["kind"] for item in found), ["PrometheusRule", "ServiceMonitor"])
        broken = json.loads(json.dumps(found[0]))
        broken["spec"] = {"endpoints": [{"port": 1}], "groups": [{"name": "x", "rules": [{"alert": "x"}]}]}
        with tempfile.TemporaryDirectory() as folder:
            for at, (item, good) in enumerate([(one, True) for one in found] + [(broken, False)]):
                path = pathlib.Path(folder, f"{at}.json")
                path.write_text(json.dumps(item))
                script = (chart.ROOT / "helm/tests/operator.mjs").read_text()
                command = ["node", "--input-type=module", "-e", script, path]
                done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode == 0, good, done.stderr)


if __name__ == "__main__":
    unittest.main()
