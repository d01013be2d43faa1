#!/usr/bin/env python3
"""Writes the table of values into helm/dfks/README.md: readme.py [--check].

Every value of values.yaml, with its default and what `# --` says of it.
"""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parent / "dfks"
START, END = "<!-- values: written by helm/readme.py -->", "<!-- end of values -->"


def descriptions(text):
    """The text after `# --`, by the dotted path of the key on the next line."""
    path, waiting, found = [], None, {}
    for line in text.splitlines():
        said = re.match(r"\s*# -- (.*)", line)
        key = re.match(r"( *)([A-Za-z][\w]*):", line)
        if said:
            waiting = said[1]
        elif key:
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if waiting:
                found[".".join(path)] = waiting
                waiting = None
    return found


def leaves(tree, path=""):
    """Every value that has no names below it."""
    for key, value in tree.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def table():
    text = (CHART / "values.yaml").read_text()
    texts = descriptions(text)
    rows, seen = ["| value | default | is |", "|---|---|---|"], set()
    for name, value in leaves(yaml.safe_load(text)):
        said = texts.get(name, "")
        above = [part for part in texts if name.startswith(f"{part}.") and part not in seen]
        for part in above:
            said = f"({part}) {texts[part]}" + (f" · {said}" if said else "")
            seen.add(part)
        rows.append(f"| `{name}` | `{json.dumps(value)}` | {said} |")
    return "\n".join(rows)


def written():
    text = (CHART / "README.md").read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    return text, f"{before}{START}\n{table()}\n{END}{after}"


def main():
    now, want = written()
    if "--check" in sys.argv:
        if now != want:
            sys.exit("helm/dfks/README.md is not what values.yaml says: run make helm-docs")
    else:
        (CHART / "README.md").write_text(want)


if __name__ == "__main__":
    main()
