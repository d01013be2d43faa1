"""How a drawn dashboard is looked at: the colour of a number in a picture, and the one that its thresholds mean."""

import json
import struct
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

GRAFANA = Path(__file__).parents[1]
sys.path.insert(0, str(GRAFANA / "draw"))

import look  # noqa: E402

# Grafana's, on white
DRAWN = {"green": (55, 135, 45), "orange": (229, 84, 0), "red": (196, 22, 42), "blue": (31, 96, 196)}
WHITE, GREY = (255, 255, 255), (120, 125, 130)


def picture(path, lines, kind):
    """A PNG of 4 channels, each line of it told as the filter `kind` does."""
    step, above, told = 4, None, b""
    for pixels in lines:
        line = b"".join(bytes((*pixel, 255)) for pixel in pixels)
        above = above or bytes(len(line))
        told += bytes([kind])
        for at, one in enumerate(line):
            left, corner = (line[at - step], above[at - step]) if at >= step else (0, 0)
            by = (0, left, above[at], (left + above[at]) // 2, look.nearest(left, above[at], corner))[kind]
            told += bytes([(one - by) & 255])
        above = line

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 6, 0, 0, 0)
    path.write_bytes(look.SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(told)) + chunk(b"IEND", b""))


class Look(unittest.TestCase):
    def test_finds_the_colour_of_a_number_whatever_the_filter(self):
        with tempfile.TemporaryDirectory() as folder:
            for kind in range(5):
                for name, colour in DRAWN.items():
                    path = Path(folder, f"{kind}-{name}.png")
                    number = [WHITE, GREY, colour, colour, GREY, WHITE]
                    picture(path, [[WHITE] * 6, number, number, [WHITE] * 6], kind)
                    self.assertEqual(look.colour_of(look.read(path), (1, 1, 5, 3)), name, path.name)

    def test_grey_is_no_colour(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "grey.png")
            picture(path, [[WHITE, GREY]], 0)
            self.assertIsNone(look.colour_of(look.read(path), (0, 0, 2, 1)))

    def test_352_dead_letters_are_red(self):
        board = json.loads((GRAFANA / "dashboards/dfks-overview.json").read_text(encoding="utf-8"))
        dead = next(one for one in board["panels"] if one["title"] == "Dead letters, 1 h")
        for value, colour in (("0", "green"), ("1", "orange"), ("352", "red")):
            series = [{"metric": {}, "values": [[1, "0"], [2, value], [3, "NaN"]]}]
            shown = {"defaults": dead["fieldConfig"]["defaults"], "targets": [{"series": series}]}
            self.assertEqual(look.meant_colour(shown), colour, value)

    def test_a_number_without_a_value_means_no_colour(self):
        self.assertIsNone(look.meant_colour({"defaults": {}, "targets": [{"series": []}]}))


if __name__ == "__main__":
    unittest.main()
