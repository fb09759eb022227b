"""The decoding process: whatever happens to it costs one file, and it has nothing of ours."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from retrieval.imaging import Decoder, DecoderUnavailable, FileRefused, Limits, sandbox
from tests.imaging.children import is_gone, peak_of, pid_of
from tests.imaging.files import dataset_of, dicom, ramp, saved, written

CRASHED = "The file is damaged in a way that stops the program that reads it."


@pytest.fixture
def own() -> Iterator[Decoder]:
    """A decoder that the test may kill."""
    with Decoder() as decoder:
        yield decoder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.png"
    path.write_bytes(saved(ramp()))
    return path


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Twelve frames, each larger than a pipe holds."""
    path = tmp_path / "frames.dcm"
    path.write_bytes(dicom(np.random.default_rng(0).integers(0, 256, (12, 512, 512), dtype=np.uint8)))
    return path


def _refusal(decoder: Decoder, path: Path) -> str:
    with pytest.raises(FileRefused) as refused:
        list(decoder.render(path))
    return refused.value.reason


def test_a_decoder_killed_midway_refuses_that_file_and_serves_the_next(
    own: Decoder, *, frames: Path, small: Path
) -> None:
    renderings = own.render(frames)
    assert next(renderings).frame_number == 1
    first = pid_of(own)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(FileRefused, match=CRASHED):
        list(renderings)
    assert len(list(own.render(small))) == 1
    assert pid_of(own) != first


def test_a_decoder_that_died_between_two_files_is_started_anew(own: Decoder, *, small: Path) -> None:
    first = pid_of(own)
    os.kill(first, signal.SIGKILL)
    assert is_gone(first, within=10)
    assert len(list(own.render(small))) == 1


def test_a_file_left_midway_does_not_leak_into_the_next(own: Decoder, *, frames: Path, small: Path) -> None:
    with closing(own.render(frames)) as renderings:
        next(renderings)
    (rendering,) = own.render(small)
    assert (rendering.width, rendering.frame_count) == (30, 1)


def test_one_process_serves_many_files(own: Decoder, *, small: Path) -> None:
    first = pid_of(own)
    for _ in range(5):
        list(own.render(small))
    assert pid_of(own) == first


def test_a_file_that_takes_too_much_memory_is_refused(small: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(saved(np.zeros((9000, 9000), dtype=np.uint16)))
    with Decoder(Limits(memory_bytes=400_000_000)) as decoder:
        pid_of(decoder)
        assert "takes more memory than one file may use" in _refusal(decoder, large)
        assert len(list(decoder.render(small))) == 1


def test_a_reader_that_panics_costs_only_its_file(own: Decoder, *, small: Path, tmp_path: Path) -> None:
    """The panic of a Rust reader is no Exception; the file after it must not find the process that is ending."""
    dataset = dataset_of(ramp(low=0, high=4095, dtype="uint16"))
    dataset.compress(RLELossless)
    content = bytearray(written(dataset))
    segments = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xe0\x7f\x10\x00") + 20) + 8
    content[segments + 64] = 129  # the first run: longer, so that its last value lies outside of the picture
    bad = tmp_path / "panic.dcm"
    bad.write_bytes(content)
    for _ in range(3):
        assert CRASHED in _refusal(own, bad)
        assert len(list(own.render(small))) == 1


def test_the_largest_pictures_stay_below_the_memory_limit(own: Decoder, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(saved(np.zeros((10_000, 10_000), dtype=np.uint8)))
    assert len(list(own.render(large))) == 1
    assert 100_000_000 < peak_of(own) < Limits().memory_bytes <= 1_000_000_000


def test_a_decoder_that_does_not_answer_is_ended_after_its_time(small: Path) -> None:
    with Decoder(Limits(seconds=1)) as decoder:
        stuck = pid_of(decoder)
        os.kill(stuck, signal.SIGSTOP)
        began = time.monotonic()
        assert "takes longer than 1 seconds" in _refusal(decoder, small)
        assert time.monotonic() - began < 5
        assert is_gone(stuck, within=5)
        assert len(list(decoder.render(small))) == 1


def test_cleaning_may_take_longer_the_more_there_is_to_clean(tmp_path: Path) -> None:
    """An enhanced object says dozens of things of each of its frames, and all of them in one answer."""
    path = tmp_path / "enhanced.dcm"
    path.write_bytes(_enhanced(items=1500, elements=30))
    with Decoder(Limits(seconds=2)) as decoder:
        assert decoder.clean(path, uid_key="key").size > 100_000
    limits = Limits(seconds=2)
    assert limits.cleaning_seconds(file_bytes=0) == 2
    assert limits.cleaning_seconds(file_bytes=2**29) == 12


def _enhanced(*, items: int, elements: int) -> bytes:
    """Functional groups of many frames: implicit VR does not tell that they are written as bytes, ready made."""
    inner = Dataset()
    inner.PlanePositionSequence = [Dataset() for _ in range(elements // 2)]
    for item in inner.PlanePositionSequence:
        item.ImagePositionPatient = [1, 2, 3]
    whole = written(dataset_of(ramp(), syntax=ImplicitVRLittleEndian, PerFrameFunctionalGroupsSequence=[inner]))
    start = whole.index(b"\x00\x52\x30\x92") + 8
    item = whole[start : start + int.from_bytes(whole[start - 4 : start], "little")]
    dataset = dataset_of(ramp(), syntax=ImplicitVRLittleEndian)
    dataset.add_new("PerFrameFunctionalGroupsSequence", "OB", item * items)
    return written(dataset)


def test_a_decoder_has_nothing_of_our_environment_and_files(
    own: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://user:secret@host/archive")
    with (tmp_path / "open").open("wb") as inheritable:
        os.set_inheritable(inheritable.fileno(), True)  # noqa: FBT003 - takes no keywords
        pid = pid_of(own)
    names = {line.split(b"=")[0] for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if line}
    assert names == {b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"MALLOC_ARENA_MAX"}
    opened = {handle.readlink().as_posix().split(":")[0] for handle in Path(f"/proc/{pid}/fd").iterdir()}
    assert opened == {"pipe", os.devnull}


def test_a_decoder_is_limited_by_the_system_itself(own: Decoder) -> None:
    lines = Path(f"/proc/{pid_of(own)}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert limits["Max address space"] == ["1000000000"] * 2
    assert limits["Max core file size"] == limits["Max file size"] == ["0", "0"]


def test_a_decoder_ends_with_its_parent(small: Path) -> None:
    program = "\n".join(
        (
            "import sys, time",
            "from pathlib import Path",
            "from retrieval.imaging import Decoder",
            "from tests.imaging.children import pid_of",
            "decoder = Decoder()",
            "list(decoder.render(Path(sys.argv[1])))",
            "print(pid_of(decoder), flush=True)",
            "time.sleep(60)",
        )
    )
    with subprocess.Popen([sys.executable, "-c", program, str(small)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(child, within=10)


def test_a_path_that_is_no_text_is_read(own: Decoder, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe4.png"))
    path.write_bytes(saved(ramp()))
    assert len(list(own.render(path))) == 1


def test_importing_the_package_loads_no_reader() -> None:
    """So that processes that talk to users stay small, and parse no hostile bytes."""
    program = "import sys, retrieval.imaging; print({'numpy', 'PIL', 'pydicom'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_decoder_that_does_not_start_blames_no_file(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without its own code must not turn a whole archive into refused files."""
    monkeypatch.setattr(sandbox, "_CODE", small.parent)
    with Decoder() as decoder, pytest.raises(DecoderUnavailable):
        next(decoder.render(small))
