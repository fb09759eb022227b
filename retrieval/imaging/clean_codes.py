"""The coded strings that are kept of a DICOM file, in it and in rows: those that the standard defines, to the letter.

A code becomes free text as soon as any word passes for one.
"""

import re

from pydicom.pixels.common import PhotometricInterpretation
from pydicom.sr.codedict import codes

_SIDE = "R|L|U|B|M"
# PS3.16, annex L: the body parts that are named in practice.
_BODY_PART = (
    "ABDOMEN|ABDOMENPELVIS|ADRENAL|ANKLE|AORTA|AORTICARCH|ARM|AXILLA|BACK|BILEDUCT|BLADDER|BRAIN|BREAST|BRONCHUS|"
    "BUTTOCK|CALCANEUS|CALF|CAROTID|CEREBELLUM|CERVIX|CHEEK|CHEST|CHESTABDOMEN|CHESTABDPELVIS|CIRCLEOFWILLIS|CLAVICLE|"
    "COCCYX|COLON|CORNEA|CORONARYARTERY|CSPINE|CTSPINE|DUODENUM|EAR|ELBOW|ESOPHAGUS|EXTREMITY|EYE|EYELID|FACE|FEMUR|"
    "FIBULA|FINGER|FOOT|FOREARM|GALLBLADDER|HAND|HEAD|HEADNECK|HEART|HIP|HUMERUS|ILEUM|ILIUM|JAW|JEJUNUM|KIDNEY|KNEE|"
    "LARYNX|LEG|LIVER|LSPINE|LSSPINE|LUNG|MANDIBLE|MAXILLA|MEDIASTINUM|MOUTH|NECK|NECKCHEST|NECKCHESTABDOMEN|"
    "NECKCHESTABDPELV|NOSE|ORBIT|OVARY|PANCREAS|PAROTID|PATELLA|PELVIS|PENIS|PHARYNX|PROSTATE|RECTUM|RIB|SACRUM|SCALP|"
    "SCAPULA|SCLERA|SCROTUM|SHOULDER|SIJOINT|SINUS|SKULL|SPINE|SPLEEN|SSPINE|STERNUM|STOMACH|SUBMANDIBULAR|TESTIS|"
    "THIGH|THUMB|THYMUS|THYROID|TIBIA|TLSPINE|TMJ|TOE|TONGUE|TRACHEA|TSPINE|ULNA|URETER|URETHRA|UTERUS|VAGINA|VULVA|"
    "WHOLEBODY|WRIST|ZYGOMA"
)
_PATTERNS = {
    "Modality": "|".join(getattr(codes.cid33, name).value for name in codes.cid33.dir()),
    "BodyPartExamined": _BODY_PART,
    # PS3.3, C.8.1.2, and of mammograms C.8.11.7 with PS3.16, CID 4014.
    "ViewPosition": "AP|PA|LL|RL|RLD|LLD|RLO|LLO|CC|MLO|ML|LM|LMO|XCC|XCCL|XCCM|FB|SIO|ISO|LAT",
    "Laterality": _SIDE,
    "ImageLaterality": _SIDE,
    "FrameLaterality": _SIDE,
    # PS3.3, C.7.6.1.1.1: where rows and columns lead, of people and of animals.
    "PatientOrientation": "[APRLHF]{1,3}|(LE|RT|CR|CD|PA|PL|D|V|L|M|R){1,3}",
    "PhotometricInterpretation": "|".join(known.value for known in PhotometricInterpretation),
    "PixelIntensityRelationship": "LIN|LOG|DISP",
    "PresentationLUTShape": "IDENTITY|INVERSE|LIN OD",
    "VOILUTFunction": "LINEAR|LINEAR_EXACT|SIGMOID",
    "BurnedInAnnotation": "YES|NO",
    "LossyImageCompression": "00|01",
}
_CODES = {keyword: re.compile(f"({pattern})?", re.IGNORECASE) for keyword, pattern in _PATTERNS.items()}


def is_code(text: str, *, keyword: str) -> bool:
    """Tell whether the text is a code that the standard defines for the attribute, or empty."""
    return keyword in _CODES and _CODES[keyword].fullmatch(text.strip(" ")) is not None
