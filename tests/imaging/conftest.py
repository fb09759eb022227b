"""One decoding process for all tests of this folder, but for those that kill theirs."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian as Deflated

from retrieval.imaging import Decoder, FileRefused, Rendering
from tests.imaging.files import written
from tests.imaging.marks import MARK

Decode = Callable[..., list[Rendering]]
Clean = Callable[[bytes], bytes]
Check = Callable[[Dataset], Dataset]
KEY = "key of these tests"


@pytest.fixture(scope="session")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture
def decode(decoder: Decoder, tmp_path: Path) -> Decode:
    """Decode bytes by way of a file, all frames unless told otherwise."""

    def from_bytes(content: bytes, **how: str) -> list[Rendering]:
        path = tmp_path / "file"
        path.write_bytes(content)
        return list(decoder.render(path, **how))

    return from_bytes


@pytest.fixture
def clean(decoder: Decoder, tmp_path: Path) -> Clean:
    """What is stored of bytes, by way of a file."""

    def from_bytes(content: bytes) -> bytes:
        path = tmp_path / "unclean"
        path.write_bytes(content)
        form = decoder.clean(path, uid_key=KEY)
        stored = b"".join(form.chunks())
        assert form.size == len(stored)
        return stored

    return from_bytes


@pytest.fixture
def check(clean: Clean, decode: Decode) -> Check:
    """Clean a marked file; it must lose its marks and nothing else. Returns what is stored."""

    def of(dataset: Dataset) -> Dataset:
        unclean = written(dataset)
        stored = clean(unclean)
        assert MARK in unclean or dataset.file_meta.TransferSyntaxUID == Deflated
        assert MARK[:4] not in stored
        assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]
        return dcmread(io.BytesIO(stored))

    return of


@pytest.fixture
def refusal(decode: Decode) -> Callable[[bytes], str]:
    """Decode bytes that must be refused, and return why."""

    def of(content: bytes) -> str:
        with pytest.raises(FileRefused) as refused:
            decode(content)
        return refused.value.reason

    return of
