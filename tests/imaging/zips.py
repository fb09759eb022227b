"""Zip archives made for the tests, honest ones and others."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

from tests.imaging.files import ramp, saved

PNG = saved(ramp())
_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write the entries, in order, whatever their names are."""
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def link(name: str, *, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry, target.encode()


def patched(path: Path, *, central: int, local: int, value: bytes) -> Path:
    """Overwrite a field of the only entry, in both of its headers, at the offsets of APPNOTE 4.3.7 and 4.3.12."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((_CENTRAL, central), (_LOCAL, local)):
        at = content.index(mark) + offset
        content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def encrypted(path: Path) -> Path:
    return patched(path, central=8, local=6, value=b"\x01")


def claiming_size(path: Path, *, size: int) -> Path:
    return patched(path, central=24, local=22, value=struct.pack("<I", size))


def hidden_bomb(path: Path, *, name: str) -> Path:
    """Pack 20 MB by bzip2 so that they claim to be their first 1,000 bytes, checksum and all."""
    claiming_size(zipped(path, (name, bytes(20_000_000)), how=zipfile.ZIP_BZIP2), size=1000)
    return patched(path, central=16, local=14, value=struct.pack("<I", zlib.crc32(bytes(1000))))


def claiming_compression(path: Path, *, method: int) -> Path:
    return patched(path, central=10, local=8, value=struct.pack("<H", method))


def nested(*, depth: int) -> bytes:
    content = PNG
    for _ in range(depth):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("inner.zip", content)
        content = out.getvalue()
    return content


def with_claimed_directory(path: Path, *, size: int) -> Path:
    """Let the end record claim another size of the table of contents (APPNOTE 4.3.16)."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x05\x06") + 12
    content[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    return path


def with_wrong_checksum(path: Path) -> Path:
    return patched(path, central=16, local=14, value=struct.pack("<I", zlib.crc32(PNG) ^ 1))
