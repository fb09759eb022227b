"""The grey pipeline of DICOM PS3.3, C.11: stored values -> modality values -> VOI -> 8-bit shades."""

import math
from collections.abc import Callable

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from retrieval.imaging.dicom_attributes import macro
from retrieval.imaging.picture import finite_range, levels

# Sequences of LUTs, and where enhanced objects keep them for a frame (PS3.3, C.7.6.16.2.9 and C.7.6.16.2.10).
LUT_SEQUENCES = {"ModalityLUTSequence": "PixelValueTransformationSequence", "VOILUTSequence": "FrameVOILUTSequence"}
_LUT_WORDS = ("US", "SS")
_MOST_TABLE_ENTRIES = 2**16
Transform = Callable[[np.ndarray], np.ndarray]


def grey_levels(pixels: np.ndarray, *, dataset: Dataset, index: int) -> np.ndarray:
    """Return the shades of one frame, (H, W) uint8.

    The first VOI LUT, else the first window, else the full range of the frame's values without its padding.
    Up to 16 bits every possible value is computed once and then looked up, which is exact and ten times as fast.
    """
    low, high = finite_range(pixels)
    if pixels.dtype.kind not in "iu" or high - low >= min(_MOST_TABLE_ENTRIES, pixels.size):
        return _shades(pixels.astype(np.float64), real=_real(pixels, dataset=dataset), dataset=dataset, index=index)
    # In four bytes and more the differences fit their own type, and the values need not fit another.
    kind = np.dtype(np.int32) if pixels.dtype.itemsize < 4 else pixels.dtype
    places = pixels.astype(kind) - kind.type(int(low))
    table = np.arange(int(low), int(high) + 1)
    present = np.zeros(table.shape, dtype=bool)
    present[places] = True
    real = present & _real(table, dataset=dataset)
    return _shades(table.astype(np.float64), real=real, dataset=dataset, index=index)[places]


def _shades(stored: np.ndarray, *, real: np.ndarray, dataset: Dataset, index: int) -> np.ndarray:
    """Map stored values (float64, any shape) to uint8; `real` marks those that count for the full range."""
    values = _modality_values(stored, dataset=dataset, index=index)
    transform = _voi_lut(dataset, index=index) or _window(dataset, index=index)
    if transform is None:
        lowest, highest = finite_range(values[real])
        shades = levels(values, lowest=lowest, highest=highest)
    else:
        shades = levels(transform(values), lowest=0.0, highest=1.0)
    return 255 - shades if dataset.PhotometricInterpretation == "MONOCHROME1" else shades


def _modality_values(stored: np.ndarray, *, dataset: Dataset, index: int) -> np.ndarray:
    """Apply the modality LUT, else slope and intercept (PS3.3, C.11.1)."""
    source = macro(dataset, index=index, sequence="PixelValueTransformationSequence")
    item = usable_lut(lut_sequence(dataset, index=index, keyword="ModalityLUTSequence"))
    if item is not None:
        return _looked_up(stored, item=item, dataset=dataset, signed=_is_signed(dataset))[0]
    slope, intercept = _first_number(source, "RescaleSlope"), _first_number(source, "RescaleIntercept")
    return stored if slope is None or intercept is None else stored * slope + intercept


def _voi_lut(dataset: Dataset, *, index: int) -> Transform | None:
    item = usable_lut(lut_sequence(dataset, index=index, keyword="VOILUTSequence"))
    if item is None:
        return None

    # PS3.3, C.11.2.1.1: its first input is of the sign that the modality values have, not the stored ones.
    signed = _is_signed(dataset) or _gets_negative(dataset, index=index)

    def transform(values: np.ndarray) -> np.ndarray:
        shades, highest = _looked_up(values, item=item, dataset=dataset, signed=signed)
        return shades / highest

    return transform


def _window(dataset: Dataset, *, index: int) -> Transform | None:
    """Return the first window as a function to 0..1 (PS3.3, C.11.2.1.2 and C.11.2.1.3); None without a usable one."""
    source = macro(dataset, index=index, sequence="FrameVOILUTSequence")
    center, width = _first_number(source, "WindowCenter"), _first_number(source, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(source.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID" and width > 0:
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))
    if function == "LINEAR_EXACT" and width > 0:
        return lambda values: (values - center) / width + 0.5
    return _linear_window(center=center, width=width) if width >= 1 else None


def _linear_window(*, center: float, width: float) -> Transform:
    if width == 1:  # a threshold
        return lambda values: (values > center - 0.5).astype(np.float64)
    return lambda values: (values - (center - 0.5)) / (width - 1) + 0.5


def lut_sequence(dataset: Dataset, *, index: int, keyword: str) -> DataElement | None:
    """Return the sequence of LUTs that holds for the frame, None when there is none."""
    source = macro(dataset, index=index, sequence=LUT_SEQUENCES[keyword])
    if not source.get(keyword) and keyword == "VOILUTSequence":
        source = dataset
    return source[keyword] if source.get(keyword) else None


def usable_lut(sequence: DataElement | None) -> Dataset | None:
    """Return the first LUT; None when there is none, or when it is left empty, as some exporters do.

    None too when it is written as anything but the words that it is.
    """
    item = sequence.value[0] if sequence is not None else None
    if item is None or len(item.get("LUTDescriptor") or ()) != 3 or not item.get("LUTData"):
        return None
    words = item["LUTDescriptor"].VR in _LUT_WORDS and item["LUTData"].VR in (*_LUT_WORDS, "OW")
    return item if words else None


def _gets_negative(dataset: Dataset, *, index: int) -> bool:
    """Tell whether unsigned stored values can become negative by slope and intercept."""
    ends = np.array([0.0, 2.0 ** int(dataset.get("BitsStored") or 16) - 1])
    return bool(_modality_values(ends, dataset=dataset, index=index).min() < 0)


def _looked_up(values: np.ndarray, *, item: Dataset, dataset: Dataset, signed: bool) -> tuple[np.ndarray, float]:
    """Return the entries of a LUT (PS3.3, C.11.1.1) for the values as float64, and the highest possible entry."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    table = _lut_entries(item, entries=entries or 2**16, little=bool(dataset.original_encoding[1]))
    places = np.clip(np.nan_to_num(values) - _with_sign(first, signed=signed), 0, len(table) - 1).astype(np.int32)
    return table[places], max(2.0 ** min(bits, 16) - 1, float(table.max()))


def _lut_entries(item: Dataset, *, entries: int, little: bool) -> np.ndarray:
    data = item.LUTData
    if isinstance(data, bytes):
        kind = "u1" if len(data) < 2 * entries else "<u2" if little else ">u2"
        data = np.frombuffer(data, dtype=kind)
    return np.atleast_1d(np.asarray(data, dtype=np.float64))[:entries]


def _real(stored: np.ndarray, *, dataset: Dataset) -> np.ndarray:
    """Mark the values that are not padding (PS3.3, C.7.5.1.1.2); none where nothing else is there: one shade."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int) or stored.dtype.kind == "f":
        return np.ones(stored.shape, dtype=bool)
    ends = [_with_sign(end, signed=_is_signed(dataset)) for end in (value, limit) if isinstance(end, int)]
    return (stored < min(ends)) | (stored > max(ends))


def _is_signed(dataset: Dataset) -> bool:
    return bool(dataset.get("PixelRepresentation") == 1)


def _with_sign(number: int, *, signed: bool) -> int:
    """Undo the reading of a signed 16-bit number as an unsigned one: files often state the wrong VR."""
    return number - 2**16 if signed and number > 2**15 - 1 else number


def _first_number(source: Dataset, keyword: str) -> float | None:
    """Return the first value, None when it is absent or no finite number."""
    value = source.get(keyword)
    first = value[0] if hasattr(value, "insert") and len(value) else value
    try:
        number = float(first)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
