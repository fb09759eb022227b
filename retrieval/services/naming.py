"""Names and identifiers that say nothing: keyed hashes of content.

They are derived, not random, so that an interrupted job that runs again writes the same files and rows again
instead of leaving orphans beside them.
"""

import hmac
import re
import uuid

from django.conf import settings

from retrieval.imaging import mapped_uid

# What anonymisers and consoles write where no identifier is to be, without spaces and punctuation.
_NO_PATIENT = re.compile("0*|X*|ANON(YM(OUS|I[SZ]ED)?|IMO)?|DEIDENTIFIED|UNKNOWN|NONE|NULL|NA|NOID|TEST", re.IGNORECASE)


def keyed_hash(*parts: str) -> str:
    """HMAC-SHA-256, in hexadecimal, of the parts under the installation's HASH_KEY."""
    return hmac.digest(settings.HASH_KEY.encode(), "\x1f".join(parts).encode("utf-8", "replace"), "sha256").hex()


def patient_key(identifier: str) -> str:
    """The same patient always has the same key; nobody can get from the key to the patient. Empty stays empty."""
    return keyed_hash("patient", identifier.strip()) if identifier.strip() else ""


def known_patient(patient_id: str) -> str:
    """Return the PatientID of a file, "" for a placeholder: else all who have the same one were the same patient."""
    return "" if _NO_PATIENT.fullmatch(re.sub(r"[\W_]", "", patient_id)) else patient_id


def uid_key() -> str:
    """The key for UIDs alone: the decoding process gets it, and never the installation's own."""
    return keyed_hash("uids")


def instance_uid(uid: str) -> str:
    """The UID of a study, series or object as the archive knows it; empty stays empty."""
    return mapped_uid(uid, key=uid_key())


def original_name(sha256: str, *, stored_sha256: str) -> str:
    """By what came in and what is stored of it: files of two patients may well leave the same bytes."""
    return _original(keyed_hash("original", sha256, stored_sha256))


def names_as_it_came(sha256: str) -> list[str]:
    """Where an original lies that was stored as it came: by what came in alone, until originals were de-identified."""
    return [_original(keyed_hash("original", sha256)), original_name(sha256, stored_sha256=sha256)]


def _original(key: str) -> str:
    return f"originals/{key[:2]}/{key[:40]}"


def image_uuid(*, dataset_pk: int, sha256: str, frame_number: int) -> uuid.UUID:
    return uuid.UUID(hex=keyed_hash("image", str(dataset_pk), sha256, str(frame_number))[:32], version=5)


def preview_name(image: uuid.UUID) -> str:
    return f"previews/{image.hex[:2]}/{image.hex}.png"


def thumbnail_name(image: uuid.UUID) -> str:
    return f"thumbnails/{image.hex[:2]}/{image.hex}.jpg"


def query_folders() -> list[str]:
    return [f"queries/{number:02x}" for number in range(256)]


def query_upload_name(query: uuid.UUID) -> str:
    return f"queries/{query.hex[:2]}/{query.hex}"


def query_preview_name(query: uuid.UUID) -> str:
    return f"queries/{query.hex[:2]}/{query.hex}.png"
