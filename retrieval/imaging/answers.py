"""What the decoding process says about one file, as messages: see child.py and sandbox.py for the two ends."""

from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from retrieval.imaging.clean import clean_file
from retrieval.imaging.decode import render_file
from retrieval.imaging.limits import Limits
from retrieval.imaging.rendering import Rendering
from retrieval.imaging.stored_form import Piece

Message = tuple[dict[str, Any], list[bytes]]


def messages(request: dict[str, Any], *, limits: Limits) -> Iterator[Message]:
    """Yield a message for each frame, or one for the form to store. Raises FileRefused."""
    path = Path(request["path"])
    if request["wanted"] == "clean":
        yield _cleaned(clean_file(path, limits=limits, uid_key=request["uid_key"]))
    else:
        yield from map(_rendered, render_file(path, limits=limits, frames=request["frames"]))


def _rendered(rendering: Rendering) -> Message:
    fields = asdict(rendering)
    parts = [fields.pop("preview"), fields.pop("thumbnail")]
    return {"kind": "rendering", **fields}, parts


def _cleaned(pieces: list[Piece]) -> Message:
    """Spans as offset, length and words; the bytes between them are parts, each in place of a null."""
    spans = [None if isinstance(piece, bytes) else astuple(piece) for piece in pieces]
    return {"kind": "cleaned", "spans": spans}, [piece for piece in pieces if isinstance(piece, bytes)]
