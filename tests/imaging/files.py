"""Bytes of image and DICOM files, made for the tests."""

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian

from retrieval.imaging import Rendering


def ramp(*, rows: int = 20, columns: int = 30, low: int = 0, high: int = 255, dtype: str = "uint8") -> np.ndarray:
    """(rows, columns), rising from `low` at the upper left to `high` at the lower right."""
    return np.linspace(low, high, rows * columns).round().astype(dtype).reshape(rows, columns)


def colours(*, rows: int = 20, columns: int = 30) -> np.ndarray:
    """(rows, columns, 3) uint8, every channel different."""
    grey = ramp(rows=rows, columns=columns)
    return np.stack([grey, 255 - grey, grey // 2], axis=-1)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, kind, **options)
    return out.getvalue()


def shown(rendering: Rendering) -> np.ndarray:
    """The preview's pixels: (H, W) or (H, W, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(rendering.preview)))


def dataset_of(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """A CT object of (frames,) rows, columns (, 3) values; `elements` by keyword replace and add, None removes."""
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    frames = pixels.shape[0] if pixels.ndim == (4 if colour else 3) else 1
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    stored = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "CT",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes(),
    }
    if colour:
        stored["PlanarConfiguration"] = 0
    if frames > 1:
        stored["NumberOfFrames"] = frames
    for keyword, value in (stored | elements).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def dicom(pixels: np.ndarray, **elements: Any) -> bytes:
    """The bytes of dataset_of(...)."""
    return written(dataset_of(pixels, **elements))


def lut(entries: list[int], *, first: int, bits: int) -> list[Dataset]:
    """A modality or VOI LUT sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = entries
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return [item]


def farthest(rendering: Rendering, expected: np.ndarray) -> float:
    """The greatest difference of the preview from what is expected, in grey levels."""
    pixels = shown(rendering)
    if pixels.ndim == 2 and expected.ndim == 3:
        pixels = pixels[..., np.newaxis]
    return float(np.abs(pixels.astype(float) - expected).max())
