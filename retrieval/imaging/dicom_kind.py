"""What a DICOM object is by its SOP class (PS3.4, B.5): a picture, something a reader does not read, or no picture.

A private class says nothing, and its pixel data alone decide.
"""

from pydicom.dataset import Dataset
from pydicom.uid import UID

from retrieval.imaging.dicom_attributes import clean_text, element_values
from retrieval.imaging.errors import FileRefused

# Pictures whose class does not have "Image" in its name.
_MAPS = ("Enhanced US Volume", "Parametric Map", "Ophthalmic Thickness Map", "Corneal Topography Map")
# Of the standard, but not among the names that pydicom knows.
_NEWER = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation",
}
# The classes of the standard that have pixel data and show no patient by themselves.
_DERIVED = ("Segmentation", "RT Dose", *_NEWER.values())
# And of any class: programs write what they have drawn as a capture, or as the image that they drew upon.
_DERIVED_MODALITIES = {"SEG": "Segmentation", "RTDOSE": "RT Dose"}


def check_kind(dataset: Dataset) -> None:
    """Raise FileRefused where the class is of no picture, whatever else is in the file: reports, plans, waveforms."""
    kind = _kind(dataset)
    if kind and not _is_picture(kind) and kind not in _DERIVED:
        raise FileRefused(no_picture(dataset))


def derived_kind(dataset: Dataset) -> str:
    """ "Segmentation" or "RT Dose" for what can be drawn but is no picture for a reader; "" otherwise."""
    kind = _kind(dataset)
    if kind in _DERIVED:
        return kind
    modality = clean_text(" ".join(map(str, element_values(dataset, keyword="Modality"))), length=16)
    return _DERIVED_MODALITIES.get(modality.upper(), "")


def no_picture(dataset: Dataset) -> str:
    """Name what the object is, in the words of the standard: only registered class names are repeated."""
    kind = _kind(dataset)
    if not kind:
        return "This DICOM file holds no picture."
    if kind == "Media Storage Directory":
        return "This file is a DICOMDIR, the table of contents of a disc, and holds no picture."
    if _is_picture(kind):
        return "This DICOM file holds no picture: it was exported without its picture data."
    return f"This DICOM file holds no picture: it is of the kind {kind}."


def _is_picture(kind: str) -> bool:
    return "Image" in kind or kind in _MAPS


def _kind(dataset: Dataset) -> str:
    """The registered name of the storage class, "CT Image"; "" for a private class and for none."""
    meta = getattr(dataset, "file_meta", {})
    uid = UID(meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or "")
    name = _NEWER.get(uid, uid.name)
    return "" if name == str(uid) else name.removesuffix(" Storage")
