"""A wire carries both ways, and loses what goes one way or the other when it is told to."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

from namespace import MARK, is_allowed

# run in a namespace of its own: says which of four packets came through, each way
PROGRAM = """
import socket, subprocess, sys
from namespace import HERE, Namespace, prepare
prepare()
there = Namespace(1)
ECHO = "import socket\\ns = socket.socket(type=socket.SOCK_DGRAM)\\ns.bind(('0.0.0.0', 5000))\\nprint(flush=True)\\n" \\
       "while True:\\n d, a = s.recvfrom(9)\\n print(d.decode(), flush=True)\\n s.sendto(d, a)"
echo = subprocess.Popen(there.command([sys.executable, "-c", ECHO]), stdout=subprocess.PIPE, text=True)
echo.stdout.readline()
near = socket.socket(type=socket.SOCK_DGRAM)
near.bind((HERE, 0))
near.settimeout(1)
def back(text):
    near.sendto(text.encode(), (there.host, 5000))
    try:
        return near.recvfrom(9)[0].decode() == text
    except TimeoutError:
        return False
said = [back("whole")]
there.deafen(True)
said.append(back("deaf"))
there.deafen(False)
there.mute(True)
said.append(back("mute"))
there.mute(False)
said.append(back("again"))
echo.terminate()
there.end()
print(*said, "heard:", *echo.stdout.read().split())
"""


@unittest.skipUnless(is_allowed(), "network namespaces cannot be made here")
class NamespaceTest(unittest.TestCase):
    def test_a_wire_is_cut_each_way(self) -> None:
        run = ["unshare", "-rn", sys.executable, "-c", PROGRAM]
        environment = os.environ | {MARK: "made"}
        said = subprocess.run(
            run,
            env=environment,
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        # what comes there and is not answered was lost on the way back
        self.assertEqual(said.stdout.split(), ["True", "False", "False", "True", "heard:", "whole", "mute", "again"])


if __name__ == "__main__":
    unittest.main()
