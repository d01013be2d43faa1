"""Looks at a drawn dashboard: which colour a number has, and which one its thresholds give it."""

import collections
import colorsys
import itertools
import math
import struct
import zlib
from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 6: 4}
# hues in degrees, up to and without; what is between them is no colour that a dashboard of ours uses
HUES = (("red", 0, 20), ("orange", 20, 48), ("green", 80, 165), ("blue", 190, 260), ("red", 340, 361))


def read(path):
    """Width, channels and lines of a PNG of 8 bits a channel that is not interlaced, as chromium writes it."""
    data = Path(path).read_bytes()
    if not data.startswith(SIGNATURE):
        raise ValueError(f"no PNG: {path}")
    packed, at, width, channels = b"", len(SIGNATURE), 0, 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, _, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            if depth != 8 or interlace or colour not in CHANNELS:
                raise ValueError(f"a PNG of another kind: {path}")
            channels = CHANNELS[colour]
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    return width, channels, unfiltered(zlib.decompress(packed), width * channels, channels)


def unfiltered(data, length, step):
    """The lines of a picture: each is told by what differs from the pixel before or the line above (PNG, chapter 9)."""
    lines, above = [], bytearray(length)
    for start in range(0, len(data), length + 1):
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + length])
        if kind == 1:
            for at in range(step, length):
                line[at] = (line[at] + line[at - step]) & 255
        elif kind == 2:
            line = bytearray((one + up) & 255 for one, up in zip(line, above, strict=True))
        elif kind == 3:
            for at in range(length):
                left = line[at - step] if at >= step else 0
                line[at] = (line[at] + (left + above[at]) // 2) & 255
        elif kind == 4:
            for at in range(length):
                left, corner = (line[at - step], above[at - step]) if at >= step else (0, 0)
                line[at] = (line[at] + nearest(left, above[at], corner)) & 255
        lines.append(line)
        above = line
    return lines


def nearest(left, up, corner):
    """The Paeth predictor."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def colour_of(image, box):
    """The colour that most pixels within (left, top, right, bottom) have, of those that have one."""
    _, channels, lines = image
    left, top, right, bottom = box
    seen = collections.Counter()
    for line, column in itertools.product(lines[top:bottom], range(left, right)):
        red, green, blue = line[column * channels : column * channels + 3]
        if max(red, green, blue) - min(red, green, blue) > 60:
            seen[word(red, green, blue)] += 1
    del seen[None]
    return seen.most_common(1)[0][0] if seen else None


def word(red, green, blue):
    hue = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)[0] * 360
    return next((name for name, start, end in HUES if start <= hue < end), None)


def meant_colour(panel):
    """The colour that the thresholds of a panel give the last value that it shows; None: it shows none."""
    shown = [float(value) for target in panel["targets"] for one in target["series"] for _, value in one["values"]]
    shown = [value for value in shown if not math.isnan(value)]
    if not shown:
        return None
    steps = panel["defaults"]["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or shown[-1] >= step["value"]]
    return reached[-1]
