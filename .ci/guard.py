#!/usr/bin/env python3
"""Runs a command, and fails when it leaves a process behind: guard.py COMMAND…

Linux gives a process whose parent has ended to the nearest ancestor that asks for such ones. So what the command leaves
behind, however far below itself it was started, is a child of this process at the end. It is named and ended.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# what is just about to end may do so
GRACE_SECONDS = 5
# a cache of compiled code that CARGO starts for all that come after
KEPT = {"sccache"}


def below(ancestor):
    """Every process below another: its command line by its id."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, fields = (folder / "stat").read_text().partition(" (")[2].rpartition(") ")
            state, parent = fields.split()[:2]
            if state != "Z" and name not in KEPT:
                pid = int(folder.name)
                parents[pid] = int(parent)
                commands[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found - {ancestor}}


def reap():
    """Takes note of what has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def run(command):
    """Its exit code. Ctrl-C reaches the command by itself, an order to end is passed on."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = child.wait()
    return code if code >= 0 else 128 - code


def main():
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    code = run(sys.argv[1:])
    until = time.monotonic() + GRACE_SECONDS
    while (left := below(os.getpid())) and time.monotonic() < until:
        time.sleep(0.1)
        reap()
    for pid, command in left.items():
        print(f"left behind by {' '.join(sys.argv[1:])}: {pid} {command}", file=sys.stderr)
        # the second: it is a child of one that has not ended either
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    sys.exit(code or bool(left))


main()
