"""What stands in a DICOM file's pixel data besides the picture goes, and the picture stays as it is shown."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian as Deflated,
)
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from pydicom.uid import (
    JPEG2000Lossless as J2K,
)

from retrieval.imaging import FileRefused
from tests.bad_inputs import index_of, is_readable
from tests.imaging.conftest import Check, Clean, Decode
from tests.imaging.files import colours, dataset_of, ramp, saved, written
from tests.imaging.marks import (
    APPENDED,
    GREY,
    LENGTHS_OF_PARTS,
    MARK,
    behind,
    compressed,
    jpeg2000,
    segment,
)

JUNK = (
    segment(0xFE, MARK)
    + segment(0xE0, b"JFXX\0\x13" + MARK)
    + segment(0xE1, Image.Exif().tobytes() + MARK)
    + segment(0xE8, b"SPIFF\0" + MARK)
    + segment(0xEE, b"Adobf" + MARK)
    + segment(0xE5, b"JFIF" + MARK)
)


def marked_jpeg(jpeg: bytes, *, after: bytes = MARK) -> bytes:
    return jpeg[:2] + JUNK + jpeg[2:] + after


@pytest.mark.parametrize("after", APPENDED)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpeg_frames_lose_comments_and_what_follows_them(
    check: Check, *, options: dict[str, int], after: bytes
) -> None:
    jpeg = saved(GREY, "JPEG", comment=MARK, **options)
    check(compressed([marked_jpeg(jpeg, after=after)]))


def test_a_thumbnail_in_a_jfif_segment_goes(check: Check) -> None:
    jpeg = saved(GREY, "JPEG")
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1" + bytes([2, 2]) + MARK)
    check(compressed([jpeg[:2] + jfif + jpeg[jpeg.index(b"\xff\xdb") :]]))


@pytest.mark.parametrize("keep_rgb", [True, False])
def test_jpeg_frames_keep_how_their_colours_are_stored(check: Check, *, keep_rgb: bool) -> None:
    jpeg = saved(colours(rows=64, columns=64), "JPEG", keep_rgb=keep_rgb)
    stored = check(compressed([marked_jpeg(jpeg)], colour=True, PhotometricInterpretation="YBR_FULL_422"))
    assert (b"Adobe" if keep_rgb else b"JFIF") in stored.PixelData


def test_frames_keep_their_places_in_the_offset_table(check: Check) -> None:
    frames = [saved(GREY // (index + 1), "JPEG") for index in range(4)]
    dataset = compressed([marked_jpeg(frame) for frame in frames])
    stored = check(dataset)
    assert stored.PixelData[:24] == dataset.PixelData[:24]
    assert len(stored.PixelData) == len(dataset.PixelData)
    assert len(list(generate_frames(stored.PixelData))) == 4


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [2, 7])
def test_frames_in_fragments_are_told_apart_as_before(check: Check, *, fragments: int, table: bool) -> None:
    frames = [marked_jpeg(saved(GREY // (index + 1), "JPEG"), after=b"") for index in range(3)]
    dataset = compressed(frames)
    dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table)
    check(dataset)


@pytest.mark.parametrize("cut", range(2, 200, 6))
def test_what_reaches_over_the_edge_of_a_fragment_goes(check: Check, *, cut: int) -> None:
    frame = marked_jpeg(saved(GREY, "JPEG"))
    dataset = compressed([frame])
    dataset.PixelData = encapsulate([frame[:cut], frame[cut:]], has_bot=False)
    check(dataset)


def _with_extended_offsets(frames: list[bytes]) -> Dataset:
    dataset = compressed(frames)
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    return dataset


def test_an_extended_offset_table_stays_if_it_is_true(check: Check) -> None:
    dataset = _with_extended_offsets([marked_jpeg(saved(GREY // (index + 1), "JPEG")) for index in range(3)])
    stored = check(dataset)
    assert stored.ExtendedOffsetTable == dataset.ExtendedOffsetTable
    assert stored.ExtendedOffsetTableLengths == dataset.ExtendedOffsetTableLengths


@pytest.mark.parametrize("keyword", ["ExtendedOffsetTable", "ExtendedOffsetTableLengths"])
def test_an_extended_offset_table_that_is_not_true_is_refused(clean: Clean, *, keyword: str) -> None:
    dataset = _with_extended_offsets([saved(GREY, "JPEG")] * 3)
    dataset[keyword].value = dataset[keyword].value[:8] + MARK + b"MARK"
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(written(dataset))


def test_extended_offset_tables_of_uncompressed_frames_go(check: Check) -> None:
    stored = check(dataset_of(GREY, ExtendedOffsetTable=MARK + b"MARK", ExtendedOffsetTableLengths=MARK + b"MARK"))
    assert "ExtendedOffsetTable" not in stored


def _with_offsets(dataset: Dataset, table: bytes) -> Dataset:
    """Replace the Basic Offset Table of an object that has one offset."""
    dataset.PixelData = dataset.PixelData[:4] + len(table).to_bytes(4, "little") + table + dataset.PixelData[12:]
    return dataset


def test_an_offset_table_is_written_anew(check: Check) -> None:
    assert check(_with_offsets(compressed([saved(GREY, "JPEG")]), MARK)).PixelData[4:12] == b"\4\0\0\0\0\0\0\0"


def test_fragments_after_the_last_frame_go(check: Check) -> None:
    dataset = compressed([saved(GREY, "JPEG"), saved(GREY // 2, "JPEG"), MARK])
    dataset.NumberOfFrames = 2
    check(dataset)


@pytest.mark.parametrize(
    "broken",
    [
        lambda jpeg: MARK + jpeg,
        lambda jpeg: jpeg[:2] + MARK + jpeg[2:],
        lambda jpeg: jpeg[:2] + b"\xff\xfe\xff\xff" + jpeg[2:],
        lambda jpeg: jpeg[:2] + b"\xff\xfe\0\1" + jpeg[2:],
        lambda jpeg: jpeg[:2],
        lambda _: b"\xff\xd8" + b"\xff" * 100_000,
    ],
)
def test_a_jpeg_that_cannot_be_walked_is_refused(clean: Clean, *, broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(written(compressed([broken(saved(GREY, "JPEG"))])))


DEEP = ramp(rows=64, columns=64, high=4095, dtype="uint16")


def _run_lengths() -> tuple[Dataset, bytes]:
    dataset = dataset_of(DEEP)
    dataset.compress(RLELossless)
    return dataset, next(generate_frames(dataset.PixelData, number_of_frames=1))


def _moved(frame: bytes, *, segment: int, by: int) -> bytes:
    at = 4 + 4 * segment
    return frame[:at] + (int.from_bytes(frame[at : at + 4], "little") + by).to_bytes(4, "little") + frame[at + 4 :]


TEXT_AS_RUN = bytes([len(MARK) - 1]) + MARK


@pytest.mark.parametrize("junk", [MARK, TEXT_AS_RUN, b"\x80" + TEXT_AS_RUN, bytes(6) + TEXT_AS_RUN])
@pytest.mark.parametrize("where", ["header", "before the first", "between", "after the last"])
def test_run_lengths_lose_what_stands_around_them(check: Check, *, where: str, junk: bytes) -> None:
    dataset, frame = _run_lengths()
    second = int.from_bytes(frame[8:12], "little")
    junk += bytes(len(junk) % 2)
    marked = {
        "header": frame[:20] + junk + frame[20 + len(junk) :],
        "before the first": _moved(_moved(frame, segment=0, by=len(junk)), segment=1, by=len(junk))[:64]
        + junk
        + frame[64:],
        "between": _moved(frame, segment=1, by=len(junk))[:second] + junk + frame[second:],
        "after the last": frame + junk,
    }[where]
    dataset.PixelData = encapsulate([marked])
    check(dataset)


def test_a_last_run_that_is_too_long_loses_what_is_too_much(check: Check) -> None:
    dataset = dataset_of(ramp(rows=8, columns=15), syntax=RLELossless)
    runs = bytes([107, *range(108)]) + bytes([23, *range(12)]) + MARK
    dataset.PixelData = encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + runs])
    stored = check(dataset)
    assert next(generate_frames(stored.PixelData)).rstrip(b"\0").endswith(runs[:-12])


def test_run_lengths_whose_segments_lie_upon_one_another_are_refused(clean: Clean) -> None:
    dataset, frame = _run_lengths()
    dataset.PixelData = encapsulate([_moved(frame, segment=0, by=10_000)])
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(written(dataset))


@pytest.mark.parametrize("odd", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, Deflated])
def test_uncompressed_frames_lose_what_was_appended(check: Check, *, syntax: str, odd: bool) -> None:
    dataset = dataset_of(ramp(rows=5 if odd else 6, columns=5), syntax=syntax)
    length = len(dataset.PixelData)
    dataset.PixelData += bytes(length % 2) + MARK
    assert len(check(dataset).PixelData) == length + length % 2


def test_subsampled_frames_lose_what_was_appended(check: Check) -> None:
    dataset = dataset_of(colours(rows=4, columns=6), PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = dataset.PixelData[:48] + MARK
    assert len(check(dataset).PixelData) == 48


def test_what_follows_the_data_set_goes(clean: Clean) -> None:
    for dataset in (dataset_of(GREY), compressed([saved(GREY, "JPEG")])):
        assert MARK not in clean(written(dataset) + b"\xfc\xff\xfc\xffOB\0\0\x0c\0\0\0" + MARK)


def _marked_frame(frame: bytes, *, syntax: str) -> bytes:
    if syntax == RLELossless:
        return frame + TEXT_AS_RUN + b"\0"
    if frame.startswith(b"\xff\xd8"):
        return marked_jpeg(frame, after=b"\0" * (len(frame) % 2) + MARK)
    return behind(frame, 0x51, segment(0x64, b"\0\1" + MARK) + LENGTHS_OF_PARTS) + b"\0" * (len(frame) % 2) + MARK


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_marks_in_real_frames_go_and_the_frames_are_shown_as_before(
    real_data: Path, clean: Clean, decode: Decode
) -> None:
    """Every compressed file: baseline, extended and lossless JPEG, JPEG-LS, JPEG 2000 and run lengths."""
    unlike, syntaxes = [], set()
    for path in (real_data / "dicom" / row["file"] for row in index_of(real_data / "dicom") if is_readable(row)):
        dataset = dcmread(path, force=True)
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if not syntax or not syntax.is_encapsulated:
            continue
        count = int(dataset.get("NumberOfFrames") or 1)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=count))
        marked = encapsulate([_marked_frame(frame, syntax=syntax) for frame in frames])
        assert marked.count(MARK) >= count
        unclean = path.read_bytes().replace(dataset.PixelData, marked)
        stored = clean(unclean)
        if MARK[:6] in stored or [one.preview for one in decode(stored)] != [one.preview for one in decode(unclean)]:
            unlike.append(path.name)
        syntaxes.add(syntax)
    assert unlike == []
    assert len(syntaxes) >= 8


@pytest.mark.parametrize("seed", range(60))
def test_damaged_frames_are_shown_as_before_or_refused(clean: Clean, decode: Decode, *, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dataset = [compressed([saved(GREY, "JPEG")]), compressed([jpeg2000()], syntax=J2K), _run_lengths()[0]][seed % 3]
    frame = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    for place in rng.integers(0, len(frame), 3):
        frame[place] = rng.integers(0, 256)
    dataset.PixelData = encapsulate([bytes(frame)])
    unclean = written(dataset)
    try:
        before = decode(unclean)
        stored = clean(unclean)
    except FileRefused as refused:
        assert refused.reason.endswith(".")
    else:
        assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in before]
