"""One word for each modality, whether it came from DICOM (PS3.3 C.7.3.1.1.1) or from a manifest."""

MODALITY_NAMES = {
    "CT": "CT",
    "CR": "X-ray",
    "DX": "X-ray",
    "RG": "X-ray",
    "RF": "Fluoroscopy",
    "XA": "Angiography",
    "MR": "MRI",
    "PT": "PET",
    "US": "Ultrasound",
    "MG": "Mammography",
    "NM": "Nuclear medicine",
    "OP": "Fundus",
    "SM": "Microscopy",
    "ES": "Endoscopy",
    "XC": "Photography",
    "OT": "Other",
    "SC": "Other",
}


# Words as people write them into a manifest, "mri" and "x-ray", are these as well.
_IN_CAPITALS = {word.upper(): word for word in MODALITY_NAMES.values()} | MODALITY_NAMES


def modality_name(value: str) -> str:
    """The display word of a DICOM modality code, or of such a word in other letters; other words stay as they are."""
    return _IN_CAPITALS.get(value.strip().upper(), value.strip())
