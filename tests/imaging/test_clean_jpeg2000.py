"""What stands in a JPEG 2000 frame of a DICOM file besides the picture goes, and the picture stays as it is shown."""

import struct
from collections.abc import Callable

import pytest
from pydicom.uid import JPEG2000Lossless as J2K

from retrieval.imaging import FileRefused
from tests.imaging.conftest import Check, Clean
from tests.imaging.files import written
from tests.imaging.marks import (
    APPENDED,
    LENGTHS_OF_PACKETS,
    LENGTHS_OF_PARTS,
    MARK,
    behind,
    compressed,
    in_tile_part,
    jpeg2000,
    longer_tile_part,
    segment,
)


@pytest.mark.parametrize("after", APPENDED)
@pytest.mark.parametrize("options", [{}, {"tile_size": (32, 32)}, {"irreversible": True, "num_resolutions": 3}])
def test_jpeg_2000_frames_lose_comments_and_what_follows_them(
    check: Check, *, options: dict[str, object], after: bytes
) -> None:
    stream = behind(jpeg2000(**options), 0x52, segment(0x64, b"\0\1" + MARK) + segment(0x6F, MARK) + LENGTHS_OF_PARTS)
    check(compressed([in_tile_part(stream, LENGTHS_OF_PACKETS + segment(0x64, b"\0\1" + MARK)) + after], syntax=J2K))


def test_a_last_tile_part_of_unknown_length_ends_where_the_codestream_does(check: Check) -> None:
    stream = jpeg2000()
    at = stream.index(b"\xff\x90\0\x0a")
    check(compressed([stream[: at + 6] + bytes(4) + stream[at + 10 :] + MARK], syntax=J2K))


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def _boxed(*, colour: bytes, last: bool = False) -> bytes:
    size = struct.pack(">IIHBBBB", 64, 64, 1, 7, 7, 0, 0)
    return (
        b"\0\0\0\x0cjP  \r\n\x87\n"
        + _box(b"ftyp", b"jp2 \0\0\0\0jp2 " + MARK)
        + _box(b"xml ", MARK)
        + _box(b"jp2h", _box(b"ihdr", size) + _box(b"colr", colour) + _box(b"res ", MARK))
        + _box(b"uuid", MARK)
        + (b"\0\0\0\0jp2c" + jpeg2000() + MARK if last else _box(b"jp2c", jpeg2000()) + _box(b"xml ", MARK) + MARK)
    )


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("colour", [b"\1\0\0\0\0\0\x11", b"\2\0\0" + MARK])
def test_boxes_around_a_jpeg_2000_frame_lose_their_texts(check: Check, *, colour: bytes, last: bool) -> None:
    check(compressed([_boxed(colour=colour, last=last)], syntax=J2K))


@pytest.mark.parametrize(
    "broken",
    [
        lambda stream: MARK + stream,
        lambda stream: behind(stream, 0x52, MARK),
        lambda stream: behind(stream, 0x52, b"\xff\x64\xff\xff"),
        lambda stream: behind(stream, 0x52, b"\xff\x64\0\0"),
        lambda stream: stream[:-2] + MARK,
        # The last tile-part counts what follows the end of the codestream as its own.
        lambda stream: longer_tile_part(stream, by=2 + len(MARK)) + MARK,
        lambda stream: b"\0\0\0\x0cjP  \r\n\x87\n" + _box(b"jp2h", _box(b"jp2c", stream)) + _box(b"xml ", MARK),
        lambda _: b"\xff\x4f" + b"\xff\x30" * 50_000,
        lambda _: b"\xff\x4f" + b"\xff\x90\0\x0a\0\0\0\0\0\x0c\0\1\xff\x93" * 50_000,
        lambda stream: b"\0\0\0\x0cjP  \r\n\x87\n" + _box(b"jp2h", _box(b"pclr", MARK)) + _box(b"jp2c", stream),
        lambda _: b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\1jp2h" + bytes(7) + b"\7",
    ],
)
def test_a_jpeg_2000_frame_that_cannot_be_walked_is_refused(clean: Clean, *, broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(written(compressed([broken(jpeg2000())], syntax=J2K)))
