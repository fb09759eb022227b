"""Messages between the processes: what the decoder writes is trusted no further than its form."""

import io
import struct

import pytest

from retrieval.imaging.framing import BrokenMessage, read_message, write_message


def test_a_message_is_read_as_it_was_written() -> None:
    pipe = io.BytesIO()
    write_message(pipe, {"kind": "rendering", "width": 3}, b"one", b"", b"\0\xff")
    pipe.seek(0)
    assert read_message(pipe.read) == ({"kind": "rendering", "width": 3}, [b"one", b"", b"\0\xff"])


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"{}",
        b'{"parts": 1}',
        b'{"parts": ["x"]}',
        b'{"parts": [-1]}',
        b'{"parts": [300000000]}',
        b"[" * 200_000,
    ],
)
def test_anything_else_is_a_broken_message(*, header: bytes) -> None:
    pipe = io.BytesIO(struct.pack("!I", len(header)) + header)
    with pytest.raises(BrokenMessage):
        read_message(pipe.read)


def test_a_huge_length_is_not_waited_for() -> None:
    with pytest.raises(BrokenMessage):
        read_message(io.BytesIO(b"\xff" * 100).read)
