"""What a file is, by how it begins: never by its name, and never by what it also contains further on."""

from pathlib import Path

from retrieval.imaging.errors import FileRefused
from retrieval.imaging.limits import ACCEPTED

HEAD_BYTES = 512
ZIP = "ZIP archive"
PICTURES = ("PNG", "JPEG", "TIFF", "DICOM")

# A DICOM preamble is free for other uses (PS3.10, 7.1), so a runnable file can hide in it (CVE-2019-11687).
_RUNNABLE = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"Rar!", "RAR archive"),
    (b"%PDF", "PDF document"),
    (b"GIF8", "GIF picture"),
    (b"BM", "BMP picture"),
    (b"8BPS", "Photoshop picture"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "JPEG 2000 picture"),
)
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# The groups a DICOM data set without preamble can begin with: file meta (2) and identifying (8), either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def read_head(path: Path) -> bytes:
    """Return the first bytes of the file, enough for the functions below."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def kind_of(head: bytes) -> str:
    """Return "PNG", "JPEG", "TIFF", "DICOM", the words for another known kind, or "" when it is none of them."""
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "DICOM"
    return "TIFF" if head.startswith(_TIFF) else ""


def check_kind(head: bytes) -> str:
    """Return which of PICTURES the file claims to be. Raises FileRefused when it is none of them."""
    kind = kind_of(head)
    if kind not in PICTURES:
        raise FileRefused(f"This file is {_named(kind)}. {ACCEPTED}")
    return kind


def _named(kind: str) -> str:
    if not kind:
        return "not an image that can be read here"
    if kind.endswith("archive"):
        return f"a {kind}; archives can be imported as a dataset, but not inside one another and not as a query"
    return f"a {kind}"


def has_runnable_preamble(head: bytes) -> bool:
    """Tell whether a DICOM file begins like a program."""
    return head.startswith(_RUNNABLE)


def _is_bare_dicom(head: bytes) -> bool:
    """Tell whether a data set begins right at the first byte, as old files without preamble do."""
    if len(head) < 8 or head[:2] not in _FIRST_GROUPS:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    # Implicit VR: a four-byte length, and the first elements are short ones.
    return explicit or int.from_bytes(head[4:8], "little") < 1024
