"""Draws a small PNG with nothing but the standard library."""

from __future__ import annotations

import base64
import struct
import zlib

_SIDE = 96


def picture_url(prompt: str) -> str:
    """A picture as a `data:` URL; its colours follow from the prompt."""
    return "data:image/png;base64," + base64.b64encode(draw_png(prompt)).decode()


def draw_png(prompt: str, side: int = _SIDE) -> bytes:
    """A disc on a gradient, as PNG bytes."""
    hue = zlib.crc32(prompt.encode())
    ink = (hue & 255, hue >> 8 & 255, hue >> 16 & 255)
    rows = b"".join(b"\0" + _row(y, side, ink) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header),
        _chunk(b"IDAT", zlib.compress(rows, 9)),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _row(y: int, side: int, ink: tuple[int, int, int]) -> bytes:
    middle, radius = side / 2, side / 3
    pixels = bytearray()
    for x in range(side):
        inside = (x - middle) ** 2 + (y - middle) ** 2 < radius**2
        shade = 255 - 120 * y // side
        pixels += bytes(ink) if inside else bytes((shade, shade, 255))
    return bytes(pixels)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check
