"""Whether a person should look at a DICOM picture first: it may show whose it is, or is no picture for a reader.

What shows whose it is: names and dates drawn into it, a label, or a face.

The standard has an attribute for it, Burned In Annotation (PS3.3, C.7.6.1), which few devices fill in. Where it is not
NO, what is known of practice decides: the filter for burned-in pixels of RSNA's Clinical Trial Processor quarantines
what was saved from a screen or captured by a second device, and ultrasound consoles draw the patient's name into the
margin of every picture.
"""

from pydicom.dataset import Dataset

from retrieval.imaging.dicom_attributes import clean_text, element_values
from retrieval.imaging.dicom_kind import derived_kind

_MARKED = "The file says that text is burned into its picture. Look for names, dates and numbers."
_RECOGNISABLE = "The file says that the patient can be recognised in its picture."
_LABELLED = "The picture shows the label of a slide or specimen, or may show it. Look for names, dates and numbers."
_ULTRASOUND = (
    "Ultrasound devices draw names and dates into their pictures, and the file does not say that this one is free of "
    "them."
)
_CAPTURED = (
    "The picture was captured, scanned or saved from a screen, where names and dates are often part of it, and the "
    "file does not say that this one is free of them."
)
_CAMERA = (
    "The picture was taken by a camera or an endoscope: it may show a face, or text that was drawn into it, and the "
    "file does not say that this one is free of it."
)
_DERIVED = (
    "It is of the kind {kind}, drawn by a program, and no picture of a patient by itself. Release it "
    "only if people should find it."
)
_HIDDEN_OVERLAY = (
    "The file holds a drawing in bits that the picture does not use, and devices write names there. It is not shown "
    "here, and cannot be removed from compressed pixels."
)
_UNKNOWN_KIND = "The file does not say what kind of picture it holds, nor that no names and dates were drawn into it."

# Storage classes (PS3.4, B.5): ultrasound, also retired; secondary capture, also multi-frame.
_ULTRASOUND_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("3", "3.1", "6", "6.1", "6.2"))
_CAPTURE_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.7{number}" for number in ("", ".1", ".2", ".3", ".4"))
# Modality codes (PS3.3, C.7.3.1.1.1). EC and BDUS are ultrasound too; FID, HC and DOC are captured by their nature.
_ULTRASOUND_MODALITIES = ("US", "IVUS", "BDUS", "EC")
_CAPTURE_MODALITIES = ("SC", "DOC", "HC")
_CAMERA_MODALITIES = ("XC", "ES", "DMS")
_UNKNOWN_MODALITIES = ("OT", "")
_SLIDE_CLASS, _SLIDE_MODALITY = "1.2.840.10008.5.1.4.1.1.77.1.6", "SM"
# Conversion Type (PS3.3, C.8.6.1) of what people see on a screen, film or sheet. DI and SYN are no such thing.
_CONVERSIONS = ("DV", "DF", "SD", "SI", "WSD", "DRW")
# A second device that captured the picture: their presence is what CTP looks for.
_CAPTURE_DEVICE = (
    "DateOfSecondaryCapture",
    "SecondaryCaptureDeviceManufacturer",
    "SecondaryCaptureDeviceManufacturerModelName",
    "SecondaryCaptureDeviceSoftwareVersions",
)


def review_reason(dataset: Dataset) -> str:
    """Why a person should look at the picture before others see it, in a sentence; "" where nothing speaks for it."""
    if _code(dataset, "BurnedInAnnotation") == "YES":
        return _MARKED
    if _code(dataset, "RecognizableVisualFeatures") == "YES":
        return _RECOGNISABLE
    if _shows_label(dataset):
        return _LABELLED
    if _has_hidden_overlay(dataset):
        return _HIDDEN_OVERLAY
    if kind := derived_kind(dataset):
        return _DERIVED.format(kind=kind)
    if _code(dataset, "BurnedInAnnotation") == "NO":
        return ""
    storage_class, modality = _code(dataset, "SOPClassUID"), _code(dataset, "Modality")
    if storage_class in _ULTRASOUND_CLASSES or modality in _ULTRASOUND_MODALITIES:
        return _ULTRASOUND
    if storage_class in _CAPTURE_CLASSES or modality in _CAPTURE_MODALITIES or _was_captured(dataset):
        return _CAPTURED
    if modality in _CAMERA_MODALITIES:
        return _CAMERA
    return _UNKNOWN_KIND if modality in _UNKNOWN_MODALITIES else ""


def _shows_label(dataset: Dataset) -> bool:
    """Tell pictures of labels (PS3.3, C.8.12.4.1.1), for which devices state that no text is burned in: it is glued on.

    An overview shows the whole slide, label included; of other devices the word says nothing of the kind.
    """
    kind = _code(dataset, "ImageType")
    if "LABEL" in kind or _code(dataset, "SpecimenLabelInImage") == "YES":
        return True
    is_slide = _code(dataset, "SOPClassUID") == _SLIDE_CLASS or _code(dataset, "Modality") == _SLIDE_MODALITY
    return is_slide and "OVERVIEW" in kind


def _has_hidden_overlay(dataset: Dataset) -> bool:
    """Tell whether an overlay lies in the words of compressed pixels: Overlay Bit Position is not 0 (PS3.3, C.9.2)."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return False
    positions = (_code(dataset, f"{group:04X}0102") for group in range(0x6000, 0x6100, 2))
    return any(position not in ("", "0") for position in positions)


def _was_captured(dataset: Dataset) -> bool:
    if _code(dataset, "ConversionType") in _CONVERSIONS:
        return True
    if any(_code(dataset, keyword) for keyword in _CAPTURE_DEVICE):
        return True
    # "SCREEN SAVE" in the type or the description of the series, however it is spelt.
    return any("SAVE" in _code(dataset, keyword) for keyword in ("ImageType", "SeriesDescription"))


def _code(dataset: Dataset, keyword: str) -> str:
    """All values of the element in one text."""
    return clean_text(" ".join(map(str, element_values(dataset, keyword=keyword))), length=200).upper()
