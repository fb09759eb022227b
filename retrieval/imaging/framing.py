"""Messages on a pipe: a JSON header that says how long the raw parts after it are."""

import json
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

_LENGTH = struct.Struct("!I")
# A message longer than this is not ours: the pipe holds rubbish.
_LONGEST = 256 * 2**20


class BrokenMessage(Exception):
    """What arrived is not a message."""


def write_message(pipe: BinaryIO, header: dict[str, Any], *parts: bytes) -> None:
    text = json.dumps({**header, "parts": [len(part) for part in parts]}).encode()
    pipe.write(_LENGTH.pack(len(text)) + text)
    for part in parts:
        pipe.write(part)
    pipe.flush()


def read_message(read: Callable[[int], bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Return header and parts. `read(n)` gives exactly n bytes or raises. Raises BrokenMessage."""
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _LONGEST:
        raise BrokenMessage
    try:
        header = json.loads(read(length))
        lengths = [int(length) for length in header.pop("parts")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenMessage from error
    if min(lengths, default=0) < 0 or sum(lengths) > _LONGEST:
        raise BrokenMessage
    return header, [read(length) for length in lengths]
