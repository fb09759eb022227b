"""The pixel data element of a DICOM file without what stands in it besides the picture.

Compressed frames keep their length and their place, so every offset into them stays true. What is not seen is what a
codec itself would take for compressed samples: a text instead of the last of them is part of the picture.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from pydicom.encaps import generate_fragmented_frames
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)

from retrieval.imaging.clean_jpeg import jpeg_edits
from retrieval.imaging.clean_jpeg2000 import jpeg2000_edits
from retrieval.imaging.clean_rle import rle_edits
from retrieval.imaging.dicom_damage import native_length, read_fragments
from retrieval.imaging.pixel_words import Words
from retrieval.imaging.stored_form import Edit, Piece, Span, edited

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
Edits = Callable[[bytes], Iterator[Edit]]


def native_pieces(stream: BinaryIO, *, options: dict[str, Any]) -> list[Piece]:
    """Return uncompressed frames as long as the attributes say they are, and nothing that was appended to them.

    A byte of padding is kept as it is: in big endian words of bytes it stands before the last one.
    Where something lies beside the values in their words, only the values are kept.
    """
    start, length = stream.tell(), native_length(options)
    there = min(options["pixel_length"], stream.seek(0, os.SEEK_END) - start)
    even = length + length % 2
    span = Span(start, min(even, there))
    words = _words(options)
    if words and any(words.cleaned(chunk) != chunk for chunk in span.chunks(stream)):
        span = replace(span, words=words)
    return [span, bytes(max(even - there, 0))]


def _words(options: dict[str, Any]) -> Words | None:
    """Return how values lie in the words of the pixels, None where they fill them."""
    allocated, stored = options["bits_allocated"], options.get("bits_stored")
    if options["pixel_keyword"] != "PixelData" or not stored or not stored < allocated:
        return None
    return Words(
        width=allocated // 8,
        order="little" if options["transfer_syntax_uid"].is_little_endian else "big",
        lowest=options["lowest_bit"],
        stored=stored,
        signed=options["pixel_representation"] == 1,
    )


def encapsulated_pieces(stream: BinaryIO, *, options: dict[str, Any]) -> list[Piece]:
    """Return offset table, frames and delimiter. Raises ValueError for what cannot be told apart."""
    table, *fragments = read_fragments(stream)
    count = int(options["number_of_frames"])
    edits_of = _edits_of(options["transfer_syntax_uid"], options=options)
    # The frames that a decoder would be given: by the offset table, by their number, or by where each of them ends.
    frames = generate_fragmented_frames(stream, number_of_frames=count)
    edits: list[Edit] = []
    firsts: list[Span] = []
    following = iter(fragments)
    for parts in islice(frames, count):
        own = list(islice(following, len(parts)))
        firsts.append(own[0])
        frame = b"".join(parts)
        edits.extend(_placed(edits_of(frame), frame=frame, fragments=own))
    start = fragments[0].offset - 8
    _check_extended_offsets(options, fragments=fragments, start=start)
    end = own[-1].offset + own[-1].length
    # Where only their ends told frames apart, what goes must not be what ended one.
    needed = table.length or 1 < count < len(fragments)
    offsets = b"".join((first.offset - 8 - start).to_bytes(4, "little") for first in firsts if needed)
    return [
        _ITEM + len(offsets).to_bytes(4, "little") + offsets,
        *edited(Span(start, end - start), edits=edits),
        _DELIMITER,
    ]


def _edits_of(syntax: UID, *, options: dict[str, Any]) -> Edits:
    if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        return jpeg_edits
    if syntax in JPEG2000TransferSyntaxes:
        return jpeg2000_edits
    if syntax in RLETransferSyntaxes:
        return partial(rle_edits, size=options["rows"] * options["columns"])
    raise ValueError("How its frames are compressed is not known.")


def _check_extended_offsets(options: dict[str, Any], *, fragments: Sequence[Span], start: int) -> None:
    """Refuse an Extended Offset Table that is not what the fragments are: it could hold anything (C.7.6.3.1.8)."""
    if "extended_offsets" not in options:
        return
    kind = f"<{len(fragments)}Q"
    offsets, lengths = (struct.unpack(kind, table) for table in options["extended_offsets"])
    fits = [fragment.length - length in (0, 1) for fragment, length in zip(fragments, lengths, strict=True)]
    if offsets != tuple(fragment.offset - 8 - start for fragment in fragments) or not all(fits):
        raise ValueError("Its offset table does not say where its frames are.")


def _placed(edits: Iterable[Edit], *, frame: bytes, fragments: Sequence[Span]) -> Iterator[Edit]:
    """Turn places in the frame into places in the file; an edit may reach from one fragment into the next."""
    for offset, replacement in edits:
        if frame.startswith(replacement, offset):
            continue
        begin = 0
        for fragment in fragments:
            first = max(offset, begin)
            last = min(offset + len(replacement), begin + fragment.length)
            if first < last:
                yield fragment.offset + first - begin, replacement[first - offset : last - offset]
            begin += fragment.length
