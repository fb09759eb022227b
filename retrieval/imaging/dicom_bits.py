"""Uncompressed pixels of one bit (DICOM PS3.5, 8.1.1): frames follow one another without a gap, also within a byte."""

import os
from typing import Any, BinaryIO

import numpy as np
from pydicom.uid import ExplicitVRBigEndian


def bit_frame(stream: BinaryIO, *, options: dict[str, Any], index: int) -> np.ndarray:
    """Return a frame as (H, W) uint8 of 0 and 1; the stream is at the first byte of the pixels, and is left there.

    pydicom 3.0 reads a byte too few of a frame that begins within one.
    """
    size = options["rows"] * options["columns"] * options["samples_per_pixel"]
    # Whole words, since in big endian ones the second byte comes first.
    first_word, after = index * size // 16, -(-(index + 1) * size // 16)
    stream.seek(2 * first_word, os.SEEK_CUR)
    packed = stream.read(2 * (after - first_word))
    stream.seek(-2 * first_word - len(packed), os.SEEK_CUR)
    in_big_words = options["transfer_syntax_uid"] == ExplicitVRBigEndian and options["pixel_vr"] == "OW"
    octets = np.frombuffer(packed, dtype=np.uint8)
    if in_big_words:
        octets = octets.reshape(-1, 2)[:, ::-1].ravel()
    begin = index * size - 16 * first_word
    bits = np.unpackbits(octets, bitorder="little")[begin : begin + size]
    return bits.reshape(options["rows"], options["columns"])
