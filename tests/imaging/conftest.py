"""One decoding process for all tests of this folder, but for those that kill theirs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.imaging import Decoder, FileRefused, Rendering

Decode = Callable[..., list[Rendering]]
Clean = Callable[[bytes], bytes]
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
def refusal(decode: Decode) -> Callable[[bytes], str]:
    """Decode bytes that must be refused, and return why."""

    def of(content: bytes) -> str:
        with pytest.raises(FileRefused) as refused:
            decode(content)
        return refused.value.reason

    return of
