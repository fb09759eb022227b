"""What makes a DICOM file a damaged one, told before anything of it is shown."""

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from pydicom.encaps import generate_fragmented_frames
from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from retrieval.imaging.clean_jpeg import lost_its_end
from retrieval.imaging.errors import FileRefused
from retrieval.imaging.stored_form import Span

UNDEFINED_LENGTH = 0xFFFFFFFF
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


def check_complete(stream: BinaryIO, *, options: dict[str, Any]) -> None:
    """Refuse pixel data that was cut off; the stream is at the first byte of it, and is left there."""
    if options["transfer_syntax_uid"].is_encapsulated:
        read_fragments(stream)
        _check_ends(stream, options=options)
        return
    start = stream.tell()
    left = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    if options["pixel_length"] == UNDEFINED_LENGTH or min(options["pixel_length"], left) < native_length(options):
        raise damaged(_INCOMPLETE)


def _check_ends(stream: BinaryIO, *, options: dict[str, Any]) -> None:
    """Refuse frames of JPEG and JPEG-LS that break off: other decoders notice it, theirs draw the rest unasked."""
    if options["transfer_syntax_uid"] not in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        return
    start, count = stream.tell(), int(options["number_of_frames"])
    with refusing_damage(_INCOMPLETE):
        frames = islice(generate_fragmented_frames(stream, number_of_frames=count), count)
        if any(lost_its_end(b"".join(parts)) for parts in frames):
            raise damaged(_INCOMPLETE)
    stream.seek(start)


def native_length(options: dict[str, Any]) -> int:
    """Return the bytes that uncompressed frames take, without padding (PS3.3, C.7.6.3)."""
    bits = options["rows"] * options["columns"] * options["samples_per_pixel"] * options["bits_allocated"]
    bits *= int(options["number_of_frames"])
    if options["photometric_interpretation"] == "YBR_FULL_422":
        return math.ceil(bits * 2 / 24)
    return math.ceil(bits / 8)


def read_fragments(stream: BinaryIO) -> list[Span]:
    """Return where the contents of the items of encapsulated pixel data lie (PS3.5, A.4), the offset table's first.

    Refuses data that breaks off before the delimiter that ends it: a decoder may draw half a frame unasked.
    """
    start = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    fragments: list[Span] = []
    at = start
    while end - at >= 8:
        stream.seek(at)
        tag, length = struct.unpack("<II", stream.read(8))
        if tag == _DELIMITER:
            stream.seek(start)
            return fragments
        if tag != _ITEM:
            break
        fragments.append(Span(at + 8, length))
        at += 8 + length
    raise damaged(_INCOMPLETE)
