"""What makes a DICOM file a damaged one, told before anything of it is shown."""

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from retrieval.imaging.errors import FileRefused

_UNDEFINED_LENGTH = 0xFFFFFFFF
# Item and Sequence Delimitation Item, as read in little endian (PS3.5, A.4).
_ITEM, _DELIMITER = 0xE000FFFE, 0xE0DDFFFE
_INCOMPLETE = "a part of its picture data is missing"


def damaged(what: str) -> FileRefused:
    return FileRefused(f"The DICOM file is damaged: {what}. Export it again from where it came from.")


@contextlib.contextmanager
def refusing_damage(what: str) -> Iterator[None]:
    """Turn whatever pydicom raises on malformed bytes into a refusal; it has no common exception for them."""
    try:
        yield
    except (FileRefused, MemoryError):
        raise
    except RecursionError as error:
        raise damaged("its sequences are nested too deeply") from error
    except Exception as error:
        raise damaged(what) from error


def check_complete(stream: BinaryIO, *, options: dict[str, Any]) -> int:
    """Refuse pixel data that was cut off, else return its bytes; the stream is at the first one, and is left there."""
    start = stream.tell()
    left = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    if options["transfer_syntax_uid"].is_encapsulated:
        _check_fragments(stream, left=left)
        end = stream.tell()
        stream.seek(start)
        return end - start
    if options["pixel_length"] == _UNDEFINED_LENGTH or min(options["pixel_length"], left) < _needed(options):
        raise damaged(_INCOMPLETE)
    return min(options["pixel_length"], left)


def _needed(options: dict[str, Any]) -> int:
    """Return the bytes that uncompressed frames take (PS3.3, C.7.6.3)."""
    bits = options["rows"] * options["columns"] * options["samples_per_pixel"] * options["bits_allocated"]
    share = 2 / 3 if options["photometric_interpretation"] == "YBR_FULL_422" else 1
    return math.ceil(bits * int(options["number_of_frames"]) / 8 * share)


def _check_fragments(stream: BinaryIO, *, left: int) -> None:
    """Walk the fragments to the delimiter that ends them (PS3.5, A.4): a decoder may draw half a frame unasked.

    The stream is left behind the delimiter.
    """
    while left >= 8:
        tag, length = struct.unpack("<II", stream.read(8))
        left -= 8 + length
        if tag == _DELIMITER:
            return
        if tag != _ITEM:
            break
        stream.seek(length, os.SEEK_CUR)
    raise damaged(_INCOMPLETE)
