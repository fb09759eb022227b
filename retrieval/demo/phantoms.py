"""The classes of the demo archive, each with the DICOM words for its modality and body part and its drawing."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from retrieval.demo.ct_head import ct_head
from retrieval.demo.ct_kidney import ct_kidney
from retrieval.demo.ct_trunk import ct_abdomen, ct_chest
from retrieval.demo.fundus import fundus
from retrieval.demo.mammography import mammography
from retrieval.demo.mri_body import mri_breast, mri_knee
from retrieval.demo.mri_brain import mri_brain_axial, mri_brain_sagittal
from retrieval.demo.pet import pet_brain_axial, pet_whole_body
from retrieval.demo.subject import Subject
from retrieval.demo.us_breast import us_breast
from retrieval.demo.us_fetal import us_fetal
from retrieval.demo.xray_chest import xray_chest
from retrieval.demo.xray_hand import xray_hand
from retrieval.demo.xray_knee import xray_knee
from retrieval.demo.xray_skull import xray_skull


class Phantom(NamedTuple):
    """Modality (DICOM PS3.3 C.7.3.1.1.1), BodyPartExamined (PS3.16 annex L) and the function that draws one image."""

    modality: str
    body_part: str
    draw: Callable[[Subject], np.ndarray]


CLASSES: dict[str, Phantom] = {
    "ct_abdomen": Phantom("CT", "ABDOMEN", ct_abdomen),
    "ct_chest": Phantom("CT", "CHEST", ct_chest),
    "ct_head": Phantom("CT", "HEAD", ct_head),
    "ct_kidney": Phantom("CT", "KIDNEY", ct_kidney),
    "fundus": Phantom("OP", "EYE", fundus),
    "mammography": Phantom("MG", "BREAST", mammography),
    "mri_brain_axial": Phantom("MR", "BRAIN", mri_brain_axial),
    "mri_brain_sagittal": Phantom("MR", "BRAIN", mri_brain_sagittal),
    "mri_breast": Phantom("MR", "BREAST", mri_breast),
    "mri_knee": Phantom("MR", "KNEE", mri_knee),
    "pet_brain_axial": Phantom("PT", "BRAIN", pet_brain_axial),
    "pet_whole_body": Phantom("PT", "WHOLEBODY", pet_whole_body),
    "us_breast": Phantom("US", "BREAST", us_breast),
    "us_fetal": Phantom("US", "FETUS", us_fetal),
    "xray_chest": Phantom("DX", "CHEST", xray_chest),
    "xray_hand": Phantom("DX", "HAND", xray_hand),
    "xray_knee": Phantom("DX", "KNEE", xray_knee),
    "xray_skull": Phantom("DX", "SKULL", xray_skull),
}


def draw_phantom(label: str, *, seed: int) -> np.ndarray:
    """One image of a patient of its own: uint8 (256, 256), or (256, 256, 3) in colour. KeyError for another label."""
    return CLASSES[label].draw(Subject(patient_seed=seed, image_seed=seed))
