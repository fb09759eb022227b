"""DICOM files to try the import with: pictures that pydicom ships for its tests, and a synthetic CT series."""

import shutil
from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from retrieval.demo.ct_trunk import CHEST_WINDOW, chest_slice
from retrieval.demo.subject import Subject

# Public sample pictures inside the pydicom package; each is another picture, not the same in another encoding.
SHIPPED: dict[str, tuple[str, ...]] = {
    "dicom_ct": ("CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"),
    "dicom_mr": ("MR_small.dcm", "examples_overlay.dcm"),
    "dicom_nm": ("JPEG2000.dcm", "JPGExtended.dcm"),
    "dicom_us": ("examples_rgb_color.dcm", "examples_jpeg2k.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"),
}
SERIES_FOLDER = "dicom_ct_series"
SLICES = 12
PATIENT_SEED = 1
SPACING, THICKNESS = 1.5, 16.0  # millimetres in the plane, and from slice to slice
INTERCEPT = -1024  # stored values are unsigned, Hounsfield units are not
BITS_STORED = 12


def write_dicom_samples(folder: Path) -> int:
    """Write the samples into class-named folders; return the number of files. The same bytes each time."""
    return _copy_shipped(folder) + _write_series(folder / SERIES_FOLDER)


def _copy_shipped(folder: Path) -> int:
    for label, names in SHIPPED.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(_shipped_path(name), folder / label / name)
    return sum(len(names) for names in SHIPPED.values())


def _shipped_path(name: str) -> Path:
    # Never a download: the demo works on a machine without a network.
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        raise FileNotFoundError(f"This version of pydicom does not ship {name}.")
    return Path(path)


def _write_series(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, SLICES + 1):
        _ct_file(number).save_as(folder / f"slice_{number:02d}.dcm", enforce_file_format=True)
    return SLICES


def _ct_file(number: int) -> FileDataset:
    """One slice as a CT Image (DICOM PS3.3 A.3), number counted from 1 at the top."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(f"slice {number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    _describe_study(file)
    _describe_slice(file, number=number)
    _describe_pixels(file, hu=_slice_in_hu(number))
    return file


def _uid(name: str) -> UID:
    return generate_uid(entropy_srcs=["retrieval demo", name])


def _slice_in_hu(number: int) -> np.ndarray:
    """The slice in Hounsfield units; all slices share patient and pose, the noise is each slice's own."""
    level = (number - 1) / (SLICES - 1)
    hu = chest_slice(Subject(patient_seed=PATIENT_SEED, image_seed=PATIENT_SEED), level=level)
    return hu + np.random.default_rng(number).normal(scale=12.0, size=hu.shape)


def _describe_study(file: FileDataset) -> None:
    file.PatientName, file.PatientID = "Demo^Synthetic", "DEMO-0001"
    file.PatientBirthDate = file.PatientSex = ""
    file.StudyInstanceUID, file.SeriesInstanceUID = _uid("study"), _uid("series")
    file.FrameOfReferenceUID, file.PositionReferenceIndicator = _uid("frame of reference"), ""
    file.StudyID, file.AccessionNumber, file.ReferringPhysicianName = "1", "", ""
    file.StudyDate = file.ContentDate = "20240101"
    file.StudyTime = file.ContentTime = "120000"
    file.Modality, file.BodyPartExamined, file.PatientPosition = "CT", "CHEST", "HFS"
    file.SeriesNumber, file.SeriesDescription = 1, "Synthetic chest, drawn by code"
    file.Manufacturer, file.KVP, file.AcquisitionNumber = "", None, 1


def _describe_slice(file: FileDataset, *, number: int) -> None:
    corner, depth = -SPACING * 255 / 2, -THICKNESS * (number - 1)
    file.ImageType, file.InstanceNumber = ["DERIVED", "PRIMARY", "AXIAL"], number
    file.ImagePositionPatient, file.ImageOrientationPatient = [corner, corner, depth], [1, 0, 0, 0, 1, 0]
    file.PixelSpacing, file.SliceThickness, file.SliceLocation = [SPACING, SPACING], THICKNESS, depth


def _describe_pixels(file: FileDataset, *, hu: np.ndarray) -> None:
    stored = np.clip(np.round(hu) - INTERCEPT, 0, 2**BITS_STORED - 1).astype("<u2")
    file.Rows, file.Columns = stored.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, BITS_STORED, BITS_STORED - 1, 0
    file.RescaleIntercept, file.RescaleSlope, file.RescaleType = INTERCEPT, 1, "HU"
    file.WindowCenter, file.WindowWidth = CHEST_WINDOW
    file.PixelData = stored.tobytes()
