"""The chart's README has the values that the chart has."""

import subprocess
import sys
import unittest

import chart


class Readme(unittest.TestCase):
    def test_the_table_is_that_of_values_yaml(self):
        command = [sys.executable, chart.ROOT / "helm/readme.py", "--check"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
