"""Writes what the chart renders for each preset: write.py FOLDER."""

import pathlib
import sys

import chart
import yaml

for name, values in chart.presets().items():
    objects, _ = chart.render(values)
    pathlib.Path(sys.argv[1], f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
