"""Marked pixel data of DICOM files, and the means to put marks into compressed frames."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from tests.imaging.files import dataset_of, ramp, saved

MARK = b"MARKEDMARKED"
GREY = ramp(rows=64, columns=64)
APPENDED = [b"", MARK, b"\xff\xd8\xff\xfe\0\x0e" + MARK, b"\0" * 9 + MARK]


def compressed(frames: list[bytes], *, syntax: str = JPEGBaseline8Bit, colour: bool = False, **how: int) -> Dataset:
    """An object of 64 x 64 pixels with these frames."""
    dataset = dataset_of(np.stack([GREY] * 3, axis=-1) if colour else GREY, syntax=syntax, **how)
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = encapsulate(frames)
    return dataset


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def jpeg2000(**options: object) -> bytes:
    return saved(GREY, "JPEG2000", no_jp2=True, comment=MARK.decode(), **options)


def behind(stream: bytes, marker: int, inserted: bytes) -> bytes:
    """Insert marker segments behind the first one of this kind."""
    at = stream.index(bytes([0xFF, marker]))
    end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return stream[:end] + inserted + stream[end:]


def longer_tile_part(stream: bytes, *, by: int) -> bytes:
    """Let the first tile-part say that it is so much longer (Psot)."""
    at = stream.index(b"\xff\x90\0\x0a") + 6
    return stream[:at] + (int.from_bytes(stream[at : at + 4], "big") + by).to_bytes(4, "big") + stream[at + 4 :]


def in_tile_part(stream: bytes, inserted: bytes) -> bytes:
    """Insert marker segments into the header of the first tile-part."""
    at = stream.index(b"\xff\x90\0\x0a") + 12
    return longer_tile_part(stream[:at] + inserted + stream[at:], by=len(inserted))


LENGTHS_OF_PACKETS, LENGTHS_OF_PARTS = segment(0x58, b"\0" + MARK), segment(0x55, b"\0\x40" + MARK)
