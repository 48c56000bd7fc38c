"""What a file is, by the bytes it begins with: its name and the type it came with are claims."""

from __future__ import annotations

_HEAD_BYTES = 4096

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
)
# RIFF, FORM and ISO containers name their kind after a length.
_CONTAINERS = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"FORM", b"AIFF"): "audio/aiff",
    (b"FORM", b"AIFC"): "audio/aiff",
}
_BRANDS = {b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}
_PICTURE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})


def sniff_media_type(content: bytes | bytearray | memoryview) -> str:
    """The media type, for what a model can be given; empty for anything else, programs above all.

    The beginning of the content is enough.
    """
    head = bytes(content[:_HEAD_BYTES])
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            return media_type
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "" if brand in _PICTURE_BRANDS else _BRANDS.get(brand, "video/mp4")
    if found := _CONTAINERS.get((head[:4], head[8:12])):
        return found
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    return _sniff_frames(head) or ("text/plain" if _is_text(head) else "")


def _sniff_frames(head: bytes) -> str:
    """Sound that begins with a frame: eleven or twelve set bits, then its kind."""
    if len(head) < 4 or head[0] != 0xFF:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    layer, bit_rate, sample_rate = head[1] & 0x06, head[2] >> 4, head[2] & 0x0C
    is_mpeg = head[1] & 0xE0 == 0xE0 and layer and bit_rate < 15 and sample_rate != 0x0C
    return "audio/mpeg" if is_mpeg else ""


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut where the beginning ends.
        return len(head) == _HEAD_BYTES and error.start > len(head) - 4
    return True
