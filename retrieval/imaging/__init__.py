"""Bytes to pixels: images, DICOM files, folders and zip archives, decoded in a process of its own.

Pure: no Django, no PyTorch. Importing this package loads neither NumPy nor Pillow nor pydicom: only the decoding
process does, so that the processes that talk to users and to the database stay small and never parse hostile bytes.
"""

from retrieval.imaging.archives import open_source
from retrieval.imaging.errors import DecoderUnavailable, FileRefused
from retrieval.imaging.limits import ACCEPTED, ArchiveLimits, Limits
from retrieval.imaging.manifest import MANIFEST, Described, ManifestRefused
from retrieval.imaging.parallel import in_order
from retrieval.imaging.rendering import Rendering
from retrieval.imaging.sandbox import Decoder
from retrieval.imaging.source import Member, Source
from retrieval.imaging.stored_form import StoredForm, as_it_is
from retrieval.imaging.uids import mapped_uid

__all__ = [
    "ACCEPTED",
    "MANIFEST",
    "ArchiveLimits",
    "Decoder",
    "DecoderUnavailable",
    "Described",
    "FileRefused",
    "Limits",
    "ManifestRefused",
    "Member",
    "Rendering",
    "Source",
    "StoredForm",
    "as_it_is",
    "in_order",
    "mapped_uid",
    "open_source",
]
