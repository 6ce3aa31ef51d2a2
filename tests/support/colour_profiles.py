"""Colour profiles, written by hand: Pillow can make only sRGB."""

from __future__ import annotations

import struct


def profile(red: tuple[float, float, float], space: bytes = b"RGB ") -> bytes:
    """A colour profile of a linear display whose red has this XYZ value; green and blue are those of sRGB. For gray: a gamma of 1."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(8)  # no entries: linear
    tags = {b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x" + bytes(80)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rXYZ": xyz(red), b"gXYZ": xyz((0.3851, 0.7169, 0.0971)), b"bXYZ": xyz((0.1431, 0.0606, 0.7141))}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


LINEAR = profile((0.4361, 0.2225, 0.0139))
