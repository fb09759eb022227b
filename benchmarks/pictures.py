"""Images to measure with: drawn in milliseconds, about as hard to compress as a radiograph."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from retrieval.demo.ct_trunk import CHEST_WINDOW, chest_slice
from retrieval.demo.phantoms import CLASSES, draw_phantom
from retrieval.demo.subject import Subject

# Drawing a phantom takes a tenth of a second: a few are drawn, the others are variations of them.
_DRAWN = 4
_CT_SIDE = 512
_INTERCEPT = -1024


def smooth_pictures(count: int, *, side: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Smooth random grey pictures with some noise, uint8 (side, side)."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
        yield (smooth + rng.integers(-3, 4, (side, side), dtype=np.int16)).clip(0, 255).astype(np.uint8)


def save_png(pixels: np.ndarray, *, path: Path) -> None:
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def write_smooth_pngs(folder: Path, *, count: int, side: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path, picture in zip(paths, smooth_pictures(count, side=side), strict=True):
        save_png(picture, path=path)
    return paths


def write_class_folders(folder: Path, *, count: int, seed: int = 0) -> None:
    """`count` different phantoms as PNG, spread evenly over one folder for each of the demo archive's classes."""
    rng = np.random.default_rng(seed)
    drawn = {label: [draw_phantom(label, seed=seed + number) for number in range(_DRAWN)] for label in sorted(CLASSES)}
    for label in drawn:
        (folder / label).mkdir(parents=True)
    for number, label in zip(range(count), cycle(drawn), strict=False):
        original = drawn[label][int(rng.integers(_DRAWN))]
        save_png(_varied(original, rng=rng, noise=3).astype(np.uint8), path=folder / label / f"{number}.png")


def write_ct_slices(folder: Path, *, count: int, seed: int = 0) -> list[Path]:
    """Uncompressed 512 x 512 CT images (DICOM PS3.3 A.3), 16 bits allocated, 12 stored."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    subject = Subject(patient_seed=seed, image_seed=seed)
    drawn = [chest_slice(subject, level=number / _DRAWN) for number in range(_DRAWN)]
    enlarged = [np.asarray(Image.fromarray(hu).resize((_CT_SIDE, _CT_SIDE))) - _INTERCEPT for hu in drawn]
    paths = [folder / f"{number}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        stored = _varied(enlarged[number % _DRAWN], rng=rng, noise=12, highest=4095).astype("<u2")
        _ct_file(stored).save_as(path, enforce_file_format=True)
    return paths


def _varied(pixels: np.ndarray, *, rng: np.random.Generator, noise: float, highest: int = 255) -> np.ndarray:
    """Moved, a little brighter or darker, with noise of its own: another image to the network and to the hash."""
    moved = np.roll(pixels, rng.integers(-12, 13, 2), axis=(0, 1)) * rng.uniform(0.85, 1.15)
    return (moved + rng.normal(scale=noise, size=pixels.shape)).clip(0, highest)


def _ct_file(stored: np.ndarray) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.BodyPartExamined, file.PatientID = "CT", "CHEST", "BENCHMARK"
    file.Rows, file.Columns = stored.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = _INTERCEPT, 1, "HU"
    file.WindowCenter, file.WindowWidth = CHEST_WINDOW
    file.PixelData = stored.tobytes()
    return file
