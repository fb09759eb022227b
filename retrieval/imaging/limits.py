"""What one file and one archive may cost. Every limit is checked where the cost arises, not where it is declared."""

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3

# Bytes of a DICOM header of many small attributes, with a margin for a machine that is busy.
_CLEANED_IN_A_SECOND = 50_000
ACCEPTED = "Accepted are PNG, JPEG, TIFF and DICOM images."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for decoding one file; sizes in bytes, sides in pixels.

    `pixels` is for one frame. `seconds` is for opening a file with its first frame, and again for each next frame.
    Cleaning answers once for all frames, see `cleaning_seconds`.
    `memory_bytes` is the address space of the decoding process: its resident memory is always less.
    """

    file_bytes: int = 512 * MIB
    pixels: int = 100_000_000
    frames: int = 2000
    seconds: float = 10.0
    memory_bytes: int = 1_000_000_000
    preview_side: int = 1024
    thumbnail_side: int = 320

    def cleaning_seconds(self, *, file_bytes: int) -> float:
        """Return what cleaning a file may take: more for a larger one, up to six times `seconds`.

        Attributes that are kept for each frame make 2 MB of header in a thousand frames and more, and every one of
        them is looked at.
        """
        return min(self.seconds + file_bytes / _CLEANED_IN_A_SECOND, 6 * self.seconds)


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Limits for one folder or zip archive; sizes in bytes.

    An archive is taken for a bomb when it unpacks to more than `ratio` times its packed size and to more than
    `ratio_from_bytes`: a small archive of black pictures may well pack that tightly.
    """

    members: int = 200_000
    member_bytes: int = 512 * MIB
    total_bytes: int = 200 * GIB
    directory_bytes: int = 64 * MIB
    ratio: int = 100
    ratio_from_bytes: int = 256 * MIB
    spare_disk_bytes: int = 256 * MIB
    manifest_bytes: int = 64 * MIB
