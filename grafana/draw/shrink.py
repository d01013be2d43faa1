"""Makes a picture small: 256 colours, the commonest, and for each other one the nearest of them."""

import collections
import struct
import zlib

from look import SIGNATURE


def shrink(image, path):
    """Writes a picture that `look.read` has read as a PNG with a palette."""
    width, channels, lines = image
    pixels = [[bytes(line[at : at + 3]) for at in range(0, len(line), channels)] for line in lines]
    common = [colour for colour, _ in collections.Counter(one for line in pixels for one in line).most_common()]
    palette = common[:256]
    place = {colour: at for at, colour in enumerate(palette)}
    for colour in common[256:]:
        place[colour] = min(range(len(palette)), key=lambda at, colour=colour: distance(colour, palette[at]))
    told = b"".join(b"\0" + bytes(place[one] for one in line) for line in pixels)
    head = struct.pack(">IIBBBBB", width, len(lines), 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(told, 9)), (b"IEND", b"")]
    path.write_bytes(SIGNATURE + b"".join(chunk(name, body) for name, body in chunks))


def distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
