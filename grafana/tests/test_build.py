"""What is written for who has a console: links to it, and nothing else."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GRAFANA = Path(__file__).parents[1]
URL = "https://dfks.example.com/"


def build(*arguments):
    command = [sys.executable, GRAFANA / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Console(unittest.TestCase):
    def test_dashboards_and_alerts_link_to_it(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(build("--console", URL, folder).stderr, "")
            for path in (GRAFANA / "dashboards").glob("*.json"):
                linked = json.loads(Path(folder, "dashboards", path.name).read_text(encoding="utf-8"))
                self.assertEqual(linked["links"].pop(0)["url"], URL)
                self.assertEqual(linked, json.loads(path.read_text(encoding="utf-8")))
            for path in (GRAFANA / "rules").glob("*.yaml"):
                plain = path.read_text(encoding="utf-8")
                linked = Path(folder, "rules", path.name).read_text(encoding="utf-8")
                self.assertEqual(linked.count(f'          console: "{URL}"\n'), plain.count("- alert: "))
                self.assertEqual(linked.replace(f'          console: "{URL}"\n', ""), plain)

    def test_those_of_the_repository_have_no_link(self):
        for path in [*(GRAFANA / "dashboards").glob("*.json"), *(GRAFANA / "rules").glob("*.yaml")]:
            self.assertNotIn("console", path.read_text(encoding="utf-8").lower())

    def test_what_is_no_address_of_a_page_is_refused(self):
        for url in (
            "javascript:alert(1)",
            "dfks.example.com",
            "https://me:secret@host/",
            "https://host/?q=1",
            'https://h/"',
        ):
            with tempfile.TemporaryDirectory() as folder:
                self.assertEqual(build("--console", url, folder).returncode, 1, url)
                self.assertEqual(list(Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
