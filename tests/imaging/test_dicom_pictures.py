"""DICOM pictures that are not one grey frame: colour, palettes, many frames, oblong pixels."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from tests.imaging.conftest import Clean, Decode
from tests.imaging.files import colours, dataset_of, dicom, farthest, ramp, saved, shown, written
from tests.imaging.reference import reference_levels

COLOUR = colours()


def test_rgb_is_shown_as_it_is_interleaved_or_in_planes(decode: Decode) -> None:
    (interleaved,) = decode(dicom(COLOUR))
    planes = np.ascontiguousarray(COLOUR.transpose(2, 0, 1))
    (planar,) = decode(dicom(COLOUR, PlanarConfiguration=1, PixelData=planes.tobytes()))
    assert np.array_equal(shown(interleaved), COLOUR)
    assert np.array_equal(shown(planar), COLOUR)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda syntax: syntax.name)
def test_deep_rgb_is_reduced_to_eight_bits(decode: Decode, *, syntax: str) -> None:
    (rendering,) = decode(dicom(COLOUR.astype(np.uint16) * 257, syntax=syntax))
    assert np.array_equal(shown(rendering), COLOUR)


def test_ybr_becomes_rgb(decode: Decode) -> None:
    ybr = Image.fromarray(COLOUR).convert("YCbCr")
    (rendering,) = decode(dicom(np.asarray(ybr), PhotometricInterpretation="YBR_FULL"))
    assert farthest(rendering, np.asarray(ybr.convert("RGB"))) <= 1


def _subsampled(ybr: np.ndarray) -> bytes:
    """(..., columns, 3) as Y1 Y2 B R for two pixels (PS3.3, C.7.6.3.1.2)."""
    left, right = ybr[..., ::2, :], ybr[..., 1::2, :]
    return np.stack([left[..., 0], right[..., 0], left[..., 1], left[..., 2]], axis=-1).tobytes()


def _ybr_frames(count: int) -> np.ndarray:
    """(count, rows, columns, 3) uint8, unlike one another; two pixels have the same colour."""
    pairs = [np.repeat(colours(columns=15) // (index + 1), 2, axis=1) for index in range(count)]
    return np.stack([np.asarray(Image.fromarray(pair).convert("YCbCr")) for pair in pairs])


@pytest.mark.parametrize("frames", ["all", "middle"])
def test_every_frame_of_subsampled_ybr_becomes_rgb(decode: Decode, *, frames: str) -> None:
    ybr = _ybr_frames(4)
    content = dicom(ybr, PhotometricInterpretation="YBR_FULL_422", PixelData=_subsampled(ybr))
    shown_frames = [(one.frame_number - 1, one) for one in decode(content, frames=frames) if one.frame_number]
    assert [index for index, _ in shown_frames] == ([0, 1, 2, 3] if frames == "all" else [2])
    for index, one in shown_frames:
        assert farthest(one, np.asarray(Image.fromarray(ybr[index], "YCbCr").convert("RGB"))) <= 1


@pytest.mark.parametrize("count", [1, 3])
def test_ybr_that_only_says_it_is_subsampled_is_shown_and_stored_whole(
    decode: Decode, clean: Clean, *, count: int
) -> None:
    """As some programs leave it behind when they decompress."""
    ybr = _ybr_frames(count)
    (*expected,) = decode(dicom(ybr, PhotometricInterpretation="YBR_FULL"))
    labelled = dicom(ybr, PhotometricInterpretation="YBR_FULL_422")
    stored = clean(labelled)
    dataset = dcmread(io.BytesIO(stored))
    assert (dataset.PhotometricInterpretation, dataset.PixelData) == ("YBR_FULL", ybr.tobytes())
    for content in (labelled, stored):
        assert [one.pixel_sha256 for one in decode(content)] == [one.pixel_sha256 for one in expected]


@pytest.mark.parametrize("frames", ["all", "middle"])
@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (3, 7), (4, 6), (1, 1), (9, 13)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_frames_of_bits_may_begin_within_a_byte(
    decode: Decode, *, rows: int, columns: int, syntax: str, frames: str
) -> None:
    bits = np.random.default_rng(rows).integers(0, 2, (5, rows, columns), dtype=np.uint8)
    bits[:, 0, 0] = 1
    packed = np.packbits(bits, bitorder="little").tobytes()
    dataset = dataset_of(bits, syntax=syntax, BitsAllocated=1, BitsStored=1, HighBit=0, WindowCenter=1, WindowWidth=1)
    dataset.PixelData = packed + bytes(len(packed) % 2)
    chosen = decode(written(dataset), frames=frames)
    expected = bits if frames == "all" else bits[2:3]
    assert all(np.array_equal(shown(one), 255 * frame) for one, frame in zip(chosen, expected, strict=True))


def test_bits_in_big_endian_words_are_read_word_by_word(decode: Decode, clean: Clean) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 5, 7), dtype=np.uint8)
    packed = np.packbits(bits, bitorder="little").tobytes()
    words = np.frombuffer(packed + bytes(len(packed) % 2), dtype="<u2").astype(">u2").tobytes()
    dataset = dataset_of(bits, syntax=ExplicitVRBigEndian, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=words)
    dataset["PixelData"].VR = "OW"
    for content in (written(dataset), clean(written(dataset))):
        for one, frame in zip(decode(content), bits, strict=True):
            assert np.array_equal(shown(one), 255 * frame)


def test_jpeg_in_dicom_is_shown_as_the_jpeg_itself(decode: Decode) -> None:
    jpeg = saved(ramp(rows=64, columns=64), "JPEG", quality=95)
    dataset = dataset_of(ramp(rows=64, columns=64), syntax=JPEGBaseline8Bit, PixelData=encapsulate([jpeg]))
    (rendering,) = decode(written(dataset))
    expected = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert farthest(rendering, expected) <= 1


def _palette(*, entries: int, bits: int, first: int = 0) -> dict[str, object]:
    kind = "<u2" if bits == 16 else "u1"
    highest = 2**bits - 1
    rising = np.linspace(0, highest, entries).astype(kind)
    tables = {"Red": rising, "Green": rising[::-1], "Blue": np.full(entries, highest // 2, dtype=kind)}
    return {"PhotometricInterpretation": "PALETTE COLOR"} | {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour, table in tables.items()
        for part, value in (("Descriptor", [entries, first, bits]), ("Data", table.tobytes()))
    }


@pytest.mark.parametrize("palette", [_palette(entries=256, bits=16), _palette(entries=256, bits=8)])
def test_palettes_are_looked_up(decode: Decode, *, palette: dict[str, object]) -> None:
    dataset = dataset_of(ramp(), **palette)
    (rendering,) = decode(written(dataset))
    assert farthest(rendering, reference_levels(dataset, index=0)) <= 1


def test_indices_outside_of_a_palette_take_its_ends(decode: Decode) -> None:
    (rendering,) = decode(dicom(ramp(), **_palette(entries=100, bits=16, first=50)))
    assert shown(rendering)[0, 0].tolist() == [0, 255, 127]
    assert shown(rendering)[-1, -1].tolist() == [255, 0, 127]


def test_frames_are_read_one_by_one(decode: Decode) -> None:
    frames = np.stack([ramp(high=high, dtype="uint16") for high in (100, 200, 300, 400)])
    content = dicom(frames, WindowCenter=200, WindowWidth=401)
    renderings = decode(content)
    assert [(one.frame_number, one.frame_count) for one in renderings] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [int(shown(one).max()) for one in renderings] == pytest.approx([64, 128, 191, 255], abs=1)
    (middle,) = decode(content, frames="middle")
    assert (middle.frame_number, middle.pixel_sha256) == (3, renderings[2].pixel_sha256)


def _item(**elements: object) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def test_each_frame_of_an_enhanced_object_has_its_own_window_and_rescale(decode: Decode) -> None:
    groups = [
        _item(
            FrameVOILUTSequence=[_item(WindowCenter=center, WindowWidth=500)],
            PixelValueTransformationSequence=[_item(RescaleSlope=slope, RescaleIntercept=-10)],
        )
        for center, slope in ((300, 1), (900, 2))
    ]
    pixels = np.stack([ramp(high=1000, dtype="uint16")] * 2)
    dataset = dataset_of(pixels, PerFrameFunctionalGroupsSequence=groups)
    renderings = decode(written(dataset))
    for index, rendering in enumerate(renderings):
        assert farthest(rendering, reference_levels(dataset, index=index)) <= 1
    assert renderings[0].pixel_sha256 != renderings[1].pixel_sha256


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelSpacing": [2, 1]}, (40, 30)),
        ({"PixelSpacing": [1, 2]}, (20, 60)),
        ({"ImagerPixelSpacing": [2, 1]}, (40, 30)),
        ({"PixelAspectRatio": [3, 1]}, (60, 30)),
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": [3, 1]}, (20, 30)),
        ({"PixelSpacing": [0, 1]}, (20, 30)),
        ({"PixelSpacing": [1e9, 1]}, (20, 30)),
        ({"SharedFunctionalGroupsSequence": [_item(PixelMeasuresSequence=[_item(PixelSpacing=[2, 1])])]}, (40, 30)),
    ],
)
def test_oblong_pixels_are_shown_square(decode: Decode, *, elements: dict[str, object], shape: tuple[int, int]) -> None:
    (rendering,) = decode(dicom(ramp(), **elements))
    assert shown(rendering).shape == shape
    assert (rendering.width, rendering.height) == (30, 20)
