"""What is stored of a file: the picture untouched, and nothing that says whose it is."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from retrieval.imaging import Decoder, FileRefused, mapped_uid
from tests.imaging.conftest import KEY, Clean
from tests.imaging.files import colours, dataset_of, ramp, saved, written

MARK = "MARKED"
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def _pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def _scan(jpeg: bytes) -> bytes:
    return jpeg[jpeg.index(b"\xff\xda") : jpeg.rindex(b"\xff\xd9")]


def _exif(*, orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x013B] = orientation, MARK, MARK
    return exif


def _photograph(**options: object) -> bytes:
    thumbnail = b"\xff\xe0" + (18 + 3).to_bytes(2, "big") + b"JFXX\0\x13" + MARK.encode().ljust(13, b"\0")
    plain = saved(colours(), "JPEG", exif=_exif(orientation=6), comment=MARK.encode(), xmp=MARK.encode(), **options)
    return plain[:2] + thumbnail + plain[2:] + MARK.encode()


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"icc_profile": b"MARKED"}]
)
def test_a_jpeg_keeps_its_compressed_pixels_and_how_to_hold_it(clean: Clean, options: dict[str, object]) -> None:
    unclean = _photograph(**options)
    stored = clean(unclean)
    assert MARK.encode() in unclean
    assert MARK.encode() not in stored
    assert np.array_equal(_pixels(stored), _pixels(unclean))
    assert _scan(unclean).startswith(_scan(stored)[:100])
    image = Image.open(io.BytesIO(stored))
    assert dict(image.getexif()) == {0x0112: 6}
    assert not {"comment", "xmp", "icc_profile"} & set(image.info)


def test_a_jpeg_in_cmyk_keeps_its_colours(clean: Clean) -> None:
    unclean = saved(Image.fromarray(colours()).convert("CMYK"), "JPEG")
    assert np.array_equal(_pixels(clean(unclean)), _pixels(unclean))


def test_a_png_keeps_its_compressed_pixels_and_how_to_hold_it(clean: Clean) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Patient", MARK)
    texts.add_text("zipped", MARK, zip=True)
    texts.add_itxt("Patient", MARK)
    unclean = saved(colours(), pnginfo=texts, exif=_exif(orientation=3), dpi=(300, 300), icc_profile=b"MARKED")
    stored = clean(unclean + MARK.encode())
    assert np.array_equal(_pixels(stored), _pixels(unclean))
    assert _chunks(stored, b"IDAT") == _chunks(unclean, b"IDAT")
    image = Image.open(io.BytesIO(stored))
    assert dict(image.getexif()) == {0x0112: 3}
    assert set(image.info) - {"exif"} == {"dpi"}
    assert MARK.encode() not in stored


def _chunks(png: bytes, wanted: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == int.from_bytes(png[at + 8 + length : at + 12 + length], "big")
        found += [content] if kind == wanted else []
        at += 12 + length
    return found


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("how", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"big_tiff": True}])
def test_a_tiff_keeps_its_pages_and_nothing_else(clean: Clean, how: dict[str, object], mode: str) -> None:
    pages = [Image.fromarray(colours(rows=40 + page)).convert("L").convert(mode) for page in range(3)]
    tags = {0x010E: MARK, 0x013B: MARK, 0x0132: MARK, 700: MARK.encode(), 0x0112: 1, 65000: MARK}
    unclean = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo=tags, **how)
    stored = clean(unclean + MARK.encode())
    assert unclean.count(MARK.encode()) >= 3
    assert MARK.encode() not in stored
    before, after = Image.open(io.BytesIO(unclean)), Image.open(io.BytesIO(stored))
    for page in range(3):
        before.seek(page)
        after.seek(page)
        assert after.mode == before.mode
        assert np.array_equal(np.asarray(after), np.asarray(before))


def test_a_tiff_that_does_not_say_how_long_its_strips_are_is_refused(clean: Clean) -> None:
    unclean = saved(ramp(), "TIFF")
    # 279, StripByteCounts, becomes a private tag.
    with pytest.raises(FileRefused, match="cannot be removed"):
        clean(
            unclean.replace(b"\x17\x01\x04\x00", b"\x17\xff\x04\x00").replace(b"\x17\x01\x03\x00", b"\x17\xff\x03\x00")
        )


def _object(syntax: str) -> Dataset:
    item = Dataset()
    item.PatientName, item.CodeMeaning, item.ReferencedSOPInstanceUID = MARK, MARK, "1.2.3.4"
    item.add_new(0x00091001, "LO", MARK)
    deeper = Dataset()
    deeper.PatientID, deeper.SourceImageSequence = MARK, Sequence([item])
    dataset = dataset_of(
        ramp(high=4095, dtype="uint16"),
        syntax=syntax,
        PatientName=MARK,
        PatientID=MARK,
        StudyInstanceUID="1.2.3",
        FrameOfReferenceUID="1.2.3.9",
        RescaleSlope=2,
        RescaleIntercept=-1024,
        WindowCenter=1000,
        WindowWidth=3000,
        BodyPartExamined="HAND",
        Manufacturer=MARK,
        ImageComments=MARK,
        StudyDate="20260101",
        PatientBirthDate="19500101",
        ReferencedImageSequence=Sequence([deeper]),
        SourceImageSequence=Sequence([deeper]),
    )
    dataset.add_new(0x00090010, "LO", MARK)
    dataset.add_new(0x00091001, "UN", MARK.encode())
    dataset.add_new(0xFFFCFFFC, "OB", MARK.encode())
    dataset.file_meta.SourceApplicationEntityTitle = MARK
    dataset.preamble = MARK.encode().ljust(128, b"\0")
    return dataset


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", *SYNTAXES])
def test_a_dicom_file_keeps_its_picture_and_nothing_of_the_patient(clean: Clean, syntax: str) -> None:
    unclean = written(_object(syntax))
    stored = clean(unclean)
    before, after = dcmread(io.BytesIO(unclean)), dcmread(io.BytesIO(stored))
    assert after.PixelData == before.PixelData
    assert MARK.encode() not in stored
    assert stored[:132] == bytes(128) + b"DICM"
    assert (after.PatientName, after.PatientID, after.PatientIdentityRemoved) == ("", "", "YES")
    assert (after.RescaleIntercept, after.WindowCenter, after.BodyPartExamined) == (-1024, 1000, "HAND")
    assert MARK not in str(after)
    for keyword in ("Manufacturer", "ImageComments", "PatientBirthDate"):
        assert not after.get(keyword)


def test_uids_are_mapped_alike_wherever_they_stand(clean: Clean) -> None:
    after = dcmread(io.BytesIO(clean(written(_object(ImplicitVRLittleEndian)))))
    mapped = mapped_uid("1.2.3.4", key=KEY)
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == mapped
    assert after.SourceImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID == mapped
    assert after.StudyInstanceUID == mapped_uid("1.2.3", key=KEY)
    assert after.FrameOfReferenceUID == mapped_uid("1.2.3.9", key=KEY)
    assert after.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert mapped.startswith("2.25.")
    assert len(mapped) <= 44
    assert mapped_uid("1.2.3.4", key="another key") != mapped


def test_a_file_is_cleaned_to_the_same_bytes_each_time(clean: Clean) -> None:
    unclean = written(_object(ExplicitVRBigEndian))
    assert clean(unclean) == clean(unclean)


def test_numbers_that_are_none_and_unknown_codes_go(clean: Clean) -> None:
    dataset = dataset_of(ramp(), PatientOrientation=["L", "P"], BodyPartExamined="mr. Smith", ScanOptions="SMITH JOHN")
    dataset.add_new("SliceThickness", "DS", "1.5")
    content = written(dataset).replace(b"1.5 ", b"9.9J")
    after = dcmread(io.BytesIO(clean(content)))
    assert list(after.PatientOrientation) == ["L", "P"]
    assert not {"BodyPartExamined", "ScanOptions", "SliceThickness"} & {element.keyword for element in after}


@pytest.mark.real
def test_real_files_show_the_same_when_cleaned(real_data: Path, decoder: Decoder, tmp_path: Path) -> None:
    """All DICOM files and ordinary pictures that are read: the same frames, the same previews, the same rows."""
    unlike, kept, refused = [], [], []
    stored = tmp_path / "stored"
    for path in sorted([*(real_data / "dicom").iterdir(), *(real_data / "badinputs").rglob("*.*")]):
        if not path.is_file():
            continue
        try:
            before = _shown(decoder, path)
        except FileRefused:
            continue
        try:
            stored.write_bytes(b"".join(decoder.clean(path, uid_key=KEY).chunks()))
        except FileRefused:
            refused.append(path.name)
            continue
        kept.append(path.name)
        if _shown(decoder, stored) != before:
            unlike.append(path.name)
    assert unlike == []
    assert refused == ["pil_old-style-jpeg-compression-no-samplesperpixel.tif"]
    assert len(kept) > 100


def _shown(decoder: Decoder, path: Path) -> list[tuple[bytes, str]]:
    return [(one.preview, one.pixel_sha256) for one in decoder.render(path)]
