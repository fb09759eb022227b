"""Tables, codes and numbers of a DICOM file: those stay that its picture is shown by, and no more of them than that."""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from retrieval.imaging import FileRefused
from tests.imaging.conftest import Clean, Decode
from tests.imaging.files import colours, dataset_of, lut, ramp, written

MARK = b"MARKEDMARKED"
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
MARK_AS_WORDS = {syntax: np.frombuffer(MARK, ">u2" if syntax == ExplicitVRBigEndian else "<u2") for syntax in SYNTAXES}


def _cleaned(dataset: Dataset, *, clean: Clean, decode: Decode) -> Dataset:
    """Clean a marked file, which must lose its marks and look as before; return what is stored."""
    unclean = written(dataset)
    stored = clean(unclean)
    assert MARK in unclean
    assert MARK[:6] not in stored
    assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]
    return dcmread(io.BytesIO(stored))


def _marked_lut(syntax: str, *, entries: int = 16) -> Sequence:
    """A LUT with more entries than its descriptor says, and another one."""
    items = [
        *lut([4095 - 255 * entry for entry in range(entries)], first=1000, bits=12),
        *lut([int(word) for word in MARK_AS_WORDS[syntax]], first=0, bits=16),
    ]
    items[0].LUTData = [*items[0].LUTData, *map(int, MARK_AS_WORDS[syntax])]
    items[0].LUTExplanation = MARK.decode()
    return Sequence(items)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_luts_keep_the_entries_that_they_say_they_have(
    clean: Clean, decode: Decode, *, syntax: str, keyword: str
) -> None:
    dataset = dataset_of(ramp(high=1200, dtype="uint16"), syntax=syntax, **{keyword: _marked_lut(syntax)})
    stored = _cleaned(dataset, clean=clean, decode=decode)
    (item,) = stored[keyword].value
    assert item.LUTDescriptor == [16, 1000, 12]
    assert {element.keyword for element in item} == {"LUTDescriptor", "LUTData"}


def test_luts_of_single_frames_are_cut_too(clean: Clean, decode: Decode) -> None:
    inner, group = Dataset(), Dataset()
    inner.VOILUTSequence = _marked_lut(ExplicitVRLittleEndian)
    group.FrameVOILUTSequence = Sequence([inner])
    dataset = dataset_of(ramp(high=1200, dtype="uint16"), PerFrameFunctionalGroupsSequence=Sequence([group]))
    _cleaned(dataset, clean=clean, decode=decode)


@pytest.mark.parametrize("entries", [15, 16])
def test_luts_of_bytes_are_cut_too(clean: Clean, decode: Decode, *, entries: int) -> None:
    item = Dataset()
    item.LUTDescriptor = [entries, 1000, 8]
    item.add_new("LUTData", "OW", bytes(range(0, 10 * entries, 10)) + MARK + bytes(entries % 2))
    _cleaned(dataset_of(ramp(high=1200, dtype="uint16"), VOILUTSequence=Sequence([item])), clean=clean, decode=decode)


def test_an_incomplete_lut_stays_one(clean: Clean, decode: Decode) -> None:
    items = _marked_lut(ExplicitVRLittleEndian)
    del items[0].LUTDescriptor
    stored = _cleaned(dataset_of(ramp(high=1200, dtype="uint16"), VOILUTSequence=items), clean=clean, decode=decode)
    assert len(stored.VOILUTSequence) == 1


def _within(*keywords: str, lut: str = "VOILUTSequence") -> dict[str, Sequence]:
    """A marked LUT at the end of a path of sequences."""
    value = Sequence(_named_lut())
    for keyword in (lut, *reversed(keywords)):
        item = Dataset()
        setattr(item, keyword, value)
        value = Sequence([item])
    return {element.keyword: element.value for element in value[0]}


def _named_lut() -> list[Dataset]:
    """A complete LUT of words that spell the mark."""
    return lut([int(word) for word in MARK_AS_WORDS[ExplicitVRLittleEndian]], first=0, bits=16)


VALUES, WINDOW = "PixelValueTransformationSequence", "FrameVOILUTSequence"
SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


@pytest.mark.parametrize(
    "elements",
    [
        _within("SourceImageSequence"),
        _within("SourceImageSequence", lut="ModalityLUTSequence"),
        _within(WINDOW),
        _within(SHARED, WINDOW, lut="ModalityLUTSequence"),
        _within(SHARED, VALUES),
        _within(SHARED, "SourceImageSequence", WINDOW),
    ],
)
def test_luts_go_where_our_rendering_does_not_look(
    clean: Clean, decode: Decode, *, elements: dict[str, Sequence]
) -> None:
    _cleaned(dataset_of(ramp(), **elements), clean=clean, decode=decode)


@pytest.mark.parametrize("group", [SHARED, EACH])
@pytest.mark.parametrize(("macro", "keyword"), [(VALUES, "ModalityLUTSequence"), (WINDOW, "VOILUTSequence")])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_luts_stay_where_our_rendering_looks(
    clean: Clean, *, group: str, macro: str, keyword: str, syntax: str
) -> None:
    stored = clean(written(dataset_of(ramp(), syntax=syntax, **_within(group, macro, lut=keyword))))
    assert MARK in stored


def test_luts_of_frames_that_there_are_not_go(clean: Clean, decode: Decode) -> None:
    (beyond,) = _within(EACH, WINDOW)[EACH]
    dataset = dataset_of(ramp(), **{EACH: Sequence([Dataset(), beyond])})
    _cleaned(dataset, clean=clean, decode=decode)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_luts_of_colour_pictures_go(clean: Clean, decode: Decode, *, keyword: str) -> None:
    for dataset in (
        dataset_of(colours()),
        dataset_of(ramp(), **_palette(bits=16, beyond=b""), PhotometricInterpretation="PALETTE COLOR"),
    ):
        setattr(dataset, keyword, Sequence(_named_lut()))
        _cleaned(dataset, clean=clean, decode=decode)


@pytest.mark.parametrize(
    ("keyword", "representation", "value"),
    [
        ("LUTData", "UT", "19570101"),
        ("LUTData", "OB", MARK),
        ("LUTDescriptor", "LO", ["0000000016", "1", "16"]),
        ("LUTDescriptor", "DS", ["16.000", "1.0", "16"]),
    ],
)
def test_luts_that_are_no_words_are_emptied_and_not_looked_up(
    clean: Clean, decode: Decode, *, keyword: str, representation: str, value: object
) -> None:
    dataset = dataset_of(ramp(), VOILUTSequence=Sequence(_named_lut()))
    dataset.VOILUTSequence[0].add_new(keyword, representation, value)
    unclean = written(dataset)
    stored = clean(unclean)
    assert list(dcmread(io.BytesIO(stored)).VOILUTSequence[0]) == []
    assert [one.pixel_sha256 for one in decode(stored)] == [one.pixel_sha256 for one in decode(unclean)]


@pytest.mark.parametrize("keyword", ["PresentationLUTSequence", "SourceImageSequence"])
def test_luts_that_are_never_looked_up_go(clean: Clean, decode: Decode, *, keyword: str) -> None:
    dataset = dataset_of(ramp(), **{keyword: _marked_lut(ExplicitVRLittleEndian)})
    _cleaned(dataset, clean=clean, decode=decode)


COLOURS = ("Red", "Green", "Blue")


def _palette(*, bits: int, beyond: bytes = MARK, entries: int = 255) -> dict[str, object]:
    kind = "<u2" if bits == 16 else "u1"
    rising = np.linspace(0, 2**bits - 1, entries).astype(kind)
    return {
        f"{colour}PaletteColorLookupTable{part}": value
        for place, colour in enumerate(COLOURS)
        for part, value in (
            ("Descriptor", [entries, 0, bits]),
            ("Data", np.roll(rising, 50 * place).tobytes() + beyond + bytes(entries % 2 if bits == 8 else 0)),
        )
    }


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_keep_the_entries_that_they_say_they_have(clean: Clean, decode: Decode, *, bits: int) -> None:
    dataset = dataset_of(ramp(), **_palette(bits=bits), PhotometricInterpretation="PALETTE COLOR")
    stored = _cleaned(dataset, clean=clean, decode=decode)
    assert len(stored.RedPaletteColorLookupTableData) == (256 if bits == 8 else 510)


def test_palettes_that_are_never_looked_up_go(clean: Clean, decode: Decode) -> None:
    stored = _cleaned(dataset_of(ramp(), **_palette(bits=16)), clean=clean, decode=decode)
    assert "RedPaletteColorLookupTableData" not in stored


def test_beside_a_palette_no_other_form_of_it_is_kept(clean: Clean, decode: Decode) -> None:
    others = {f"Segmented{colour}PaletteColorLookupTableData": MARK for colour in COLOURS}
    others |= {"AlphaPaletteColorLookupTableData": MARK}
    palette = _palette(bits=16, beyond=b"")
    dataset = dataset_of(ramp(), **palette, **others, PhotometricInterpretation="PALETTE COLOR")
    _cleaned(dataset, clean=clean, decode=decode)


def _segmented(*, bits: int, syntax: str, entries: int = 256, beyond: bool = True) -> dict[str, object]:
    """A palette of 256 entries in two segments, discrete and linear (PS3.3, C.7.9.2), and a text in a third one."""
    kind = ("<" if syntax != ExplicitVRBigEndian else ">") + ("u2" if bits == 16 else "u1")
    highest = 2**bits - 1
    text = np.frombuffer(MARK, kind)
    palette: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for place, colour in enumerate(COLOURS):
        segments = [0, 2, 100 * place, highest // 2, 1, 254, highest, *([0, len(text), *text] if beyond else [])]
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [entries, 0, bits]
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = np.array(segments, kind).tobytes()
    return palette


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_segmented_palettes_become_plain_ones_without_surplus_segments(
    clean: Clean, decode: Decode, *, syntax: str, bits: int
) -> None:
    dataset = dataset_of(ramp(), syntax=syntax, **_segmented(bits=bits, syntax=syntax))
    stored = _cleaned(dataset, clean=clean, decode=decode)
    assert len(stored.RedPaletteColorLookupTableData) == 32 * bits
    assert not list(stored.dir("Segmented"))


def test_a_segmented_palette_of_an_odd_number_of_bytes_becomes_a_plain_one(clean: Clean, decode: Decode) -> None:
    palette = _segmented(bits=8, syntax=ExplicitVRLittleEndian, entries=255)
    stored = _cleaned(dataset_of(ramp(high=254), **palette), clean=clean, decode=decode)
    assert len(stored.RedPaletteColorLookupTableData) == 256


def test_a_segmented_palette_with_fewer_entries_than_it_says_is_refused(clean: Clean, decode: Decode) -> None:
    palette = _segmented(bits=16, syntax=ExplicitVRLittleEndian, entries=300, beyond=False)
    content = written(dataset_of(ramp(), **palette))
    for read in (decode, clean):
        with pytest.raises(FileRefused, match="its palette has fewer colours than it says"):
            read(content)


def _stored(clean: Clean, **elements: object) -> Dataset:
    return dcmread(io.BytesIO(clean(written(dataset_of(ramp(), **elements)))))


@pytest.mark.parametrize("value", [["L", "P"], ["HAR", "F"], ["LE", "CRD"], ["RTV", "CD"], ["", ""]])
def test_orientations_stay(clean: Clean, *, value: list[str]) -> None:
    assert list(_stored(clean, PatientOrientation=value).PatientOrientation) == value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["MARKED", ["MARKED", "L"], ["L", "SMITH"], ["APRL", "F"], ["LEXRT", "F"], "l p"])
def test_orientations_that_are_none_go(clean: Clean, *, value: object) -> None:
    assert "PatientOrientation" not in _stored(clean, PatientOrientation=value)


CODES = {
    "Modality": "MR",
    "BodyPartExamined": "CSPINE",
    "ViewPosition": "PA",
    "Laterality": "L",
    "ImageLaterality": "B",
    "FrameLaterality": "U",
    "BurnedInAnnotation": "NO",
    "PresentationLUTShape": "INVERSE",
    "VOILUTFunction": "SIGMOID",
    "PixelIntensityRelationship": "LOG",
    "LossyImageCompression": "01",
}


def test_codes_of_the_standard_stay_and_other_words_go(clean: Clean) -> None:
    stored = _stored(clean, **CODES)
    assert {keyword: stored[keyword].value for keyword in CODES} == CODES
    words = _stored(clean, **dict.fromkeys(CODES, "SMITH"))
    assert not [keyword for keyword in CODES if keyword in words]


@pytest.mark.filterwarnings("ignore")
def test_written_numbers_stay_as_few_and_as_short_as_the_standard_has_them(clean: Clean) -> None:
    dataset = dataset_of(ramp(), WindowCenter=list(range(250)), SliceThickness=[1, 19700101])
    dataset.add_new("RescaleSlope", "DS", "1.00000000000019700101")
    dataset.add_new("InstanceNumber", "IS", "0000000000000019700101")
    stored = dcmread(io.BytesIO(clean(written(dataset))))
    assert list(stored.WindowCenter) == [0, 1, 2, 3, 4, 5]
    assert stored.SliceThickness == 1
    assert stored.RescaleSlope == pytest.approx(1)
    assert len(str(stored.RescaleSlope)) <= 16
    assert "InstanceNumber" not in stored


def test_numbers_without_an_end_go_and_those_of_a_kind_stay(clean: Clean) -> None:
    words = [int(word) for word in np.frombuffer(MARK, "<u4")]
    stored = _stored(
        clean,
        DimensionIndexValues=words,
        SliceVector=[int(word) for word in np.frombuffer(MARK, "<u2")],
        FrameIncrementPointer=[0x00181063, 0x00540080],
        ImagePositionPatient=[1, 2, 3],
        PixelPaddingValue=7,
    )
    assert "DimensionIndexValues" not in stored
    assert "SliceVector" not in stored
    assert list(stored.FrameIncrementPointer) == [0x00181063, 0x00540080]
    assert (stored.ImagePositionPatient, stored.PixelPaddingValue) == ([1, 2, 3], 7)
    assert "FrameIncrementPointer" not in _stored(clean, FrameIncrementPointer=words)
