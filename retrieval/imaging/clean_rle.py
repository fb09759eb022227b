"""A frame of RLE Lossless (DICOM PS3.5, annex G) without what stands around its runs."""

from collections.abc import Iterator

from rle.utils import decode_segment

from retrieval.imaging.stored_form import Edit

_HEADER, _MOST_SEGMENTS = 64, 15


def rle_edits(frame: bytes, *, size: int) -> Iterator[Edit]:
    """Yield zeros for every byte that does not count: each segment unpacks to `size` bytes.

    Raises ValueError for a frame whose segments do not lie one behind the other.
    """
    count, *starts = (int.from_bytes(frame[at : at + 4], "little") for at in range(0, _HEADER, 4))
    if not 0 < count <= _MOST_SEGMENTS:
        raise ValueError("It does not say how many segments it has.")
    places = 4 + 4 * count
    yield places, bytes(_HEADER - places)
    used, ends = _HEADER, [*starts[1:count], len(frame)]
    for start, end in zip(starts, ends, strict=False):
        if not used <= start <= end <= len(frame):
            raise ValueError("Its segments lie upon one another.")
        yield used, bytes(start - used)
        used = start + _used(frame[start:end], size=size)
    yield used, bytes(len(frame) - used)


def _used(segment: bytes, *, size: int) -> int:
    """Return how many bytes of the segment are there for its first `size` bytes unpacked."""
    try:
        # Nearly all segments hold nothing else: told at once where a walk would take seconds.
        if len(decode_segment(segment)) <= size:
            return len(segment)
    except ValueError:
        pass
    at = unpacked = 0
    while unpacked < size and at < len(segment):
        code = segment[at]
        if code < 128:
            at, unpacked = at + code + 2, unpacked + code + 1
            # Of a last run that is too long only what counts is kept.
            at -= max(unpacked - size, 0)
        elif code > 128:
            at, unpacked = at + 2, unpacked + 257 - code
        else:
            at += 1
    return min(at, len(segment))
