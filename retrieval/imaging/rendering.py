"""What a decoded frame is to the rest of the program: bytes, numbers and short texts, no arrays."""

from dataclasses import dataclass, field

# VR length limits in characters (DICOM PS3.5, table 6.2-1); the keys are the only attributes that leave a file.
TEXT_ATTRIBUTES = {
    "modality": 16,
    "body_part_examined": 16,
    "view_position": 16,
    "laterality": 16,
    "photometric_interpretation": 16,
    "patient_id": 64,
    "study_instance_uid": 64,
    "series_instance_uid": 64,
    "sop_instance_uid": 64,
}
NUMBER_ATTRIBUTES = ("instance_number",)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """One frame, ready to be stored.

    preview: PNG without metadata, mode L or RGB; what the clinician sees and what the network reads.
    thumbnail: JPEG without metadata.
    width, height: of the frame in the file, in pixels, before any scaling.
    pixel_sha256: hex digest over the shape and the full-size 8-bit pixels.
    frame_number: 1-based; None when the file holds a single frame.
    attributes: empty for PNG, JPEG and TIFF; for DICOM the allow-list above. `patient_id` is the raw value, there
        only so that the caller can turn it into a keyed hash: it must never be stored, logged or shown.
    review_reason: a sentence on why a person should look at the picture before others see it, "" when none need.
    """

    preview: bytes
    thumbnail: bytes
    width: int
    height: int
    pixel_sha256: str
    frame_number: int | None
    frame_count: int
    attributes: dict[str, str | int | float] = field(default_factory=dict)
    review_reason: str = ""
