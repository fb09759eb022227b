"""One word for each modality, whether it came from DICOM (PS3.3 C.7.3.1.1.1) or from a manifest."""

MODALITY_NAMES = {
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


def modality_name(value: str) -> str:
    """The display word of a DICOM modality code; other words are kept as they are."""
    return MODALITY_NAMES.get(value.strip().upper(), value.strip())
