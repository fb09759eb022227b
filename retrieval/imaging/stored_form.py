"""What of a file is stored: pieces of it as they are, and between them bytes that replace what had to go."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retrieval.imaging.pixel_words import Words

_CHUNK = 2**20


@dataclass(frozen=True)
class Span:
    """Bytes that are taken over from the file: untouched, or, where words are named, nothing but their values."""

    offset: int
    length: int
    words: Words | None = None

    def chunks(self, file: BinaryIO) -> Iterator[bytes]:
        file.seek(self.offset)
        left = self.length
        while left and (chunk := file.read(min(left, _CHUNK))):
            yield self.words.cleaned(chunk) if self.words else chunk
            left -= len(chunk)


Piece = Span | bytes
# Where something has to go, and what stands there instead, byte for byte: nothing else moves.
Edit = tuple[int, bytes]


@dataclass(frozen=True)
class StoredForm:
    """A file put together anew. Nobody holds all of it in memory: pixels are copied from where they lie."""

    path: Path
    pieces: Sequence[Piece]

    @property
    def size(self) -> int:
        return length_of(self.pieces)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for piece in self.pieces:
                if isinstance(piece, bytes):
                    yield piece
                else:
                    yield from piece.chunks(file)


def length_of(pieces: Iterable[Piece]) -> int:
    return sum(piece.length if isinstance(piece, Span) else len(piece) for piece in pieces)


def edited(span: Span, *, edits: Iterable[Edit]) -> Iterator[Piece]:
    """Yield the span's pieces with the edits in place, which come in their order, by their offset in the file.

    Raises ValueError when one lies upon another.
    """
    at, end = span.offset, span.offset + span.length
    for offset, replacement in edits:
        if offset < at:
            raise ValueError("What should go there goes already.")
        if offset > at:
            yield Span(at, offset - at)
        yield replacement
        at = offset + len(replacement)
    if end > at:
        yield Span(at, end - at)


def as_it_is(path: Path) -> StoredForm:
    return StoredForm(path=path, pieces=[Span(0, path.stat().st_size)])
