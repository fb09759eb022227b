"""The words of uncompressed pixels: the bits that hold values, and those beside them (DICOM PS3.5, 8.1.1).

Old files hold overlays in the bits beside them: drawings that no viewer need show, often with a name.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal


@dataclass(frozen=True)
class Words:
    """Words of `width` bytes, with values in `stored` bits from the bit `lowest` on."""

    width: int
    order: Literal["little", "big"]
    lowest: int
    stored: int
    signed: bool

    def cleaned(self, chunk: bytes) -> bytes:
        """Return whole words with nothing beside their values: zeros, or above a signed value copies of its sign.

        Many writers continue the sign there, and some readers count on it.
        """
        # All words at once, as one number: the sign times this fills the bits above it and stays in its word.
        words = int.from_bytes(chunk, self.order)
        clean = words & self._repeated(self._used, length=len(chunk))
        if self.signed:
            signs = words & self._repeated(self._sign, length=len(chunk))
            clean |= signs * (2 ** (8 * self.width) // self._sign - 2)
        return clean.to_bytes(len(chunk), self.order)

    @property
    def _used(self) -> int:
        return (2**self.stored - 1) << self.lowest

    @property
    def _sign(self) -> int:
        return 1 << (self.lowest + self.stored - 1)

    def _repeated(self, word: int, *, length: int) -> int:
        return _repeated(word.to_bytes(self.width, self.order), length // self.width, self.order)


@lru_cache(maxsize=8)
def _repeated(word: bytes, count: int, order: Literal["little", "big"], /) -> int:
    return int.from_bytes(word * count, order)
