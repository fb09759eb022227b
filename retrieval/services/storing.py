"""Writing what is decoded of a file into the archive's storage, before the database knows of it."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import transaction

from retrieval.imaging import Decoder, FileRefused, Member, Rendering, StoredForm, as_it_is
from retrieval.models import MedicalImage, StoredFile
from retrieval.services import naming
from retrieval.services.modalities import modality_name


@dataclass(eq=False)
class Incoming:
    """A member on its way: its bytes, unless it was refused; closing `hold` lets go of them."""

    member: Member
    dataset_pk: int
    hold: ExitStack = field(default_factory=ExitStack)
    path: Path | None = None
    sha256: str = ""
    # A member before it had the same content; and whether this content is to be decoded at all.
    repeats: bool = False
    is_new: bool = False
    refusal: str = ""
    original: StoredFile | None = None
    images: list[MedicalImage] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def decode_and_store(decoder: Decoder, file: Incoming) -> Incoming:
    """In a thread: decode and write the files. No database here, connections belong to threads."""
    if file.path is None or not file.is_new:
        return file
    try:
        for rendering in decoder.render(file.path):
            file.images.append(_store_frame(rendering, file=file))
        original = _form_to_store(file.path, decoder=decoder)
    except FileRefused as refused:
        file.refusal = refused.reason
        return file
    stored_sha256 = original.sha256()
    name = naming.original_name(file.sha256, stored_sha256=stored_sha256)
    file.original = StoredFile(
        sha256=file.sha256,
        stored_sha256=stored_sha256,
        file=name,
        size=original.size,
        is_deidentified=settings.DEIDENTIFY_ORIGINALS,
    )
    _save(file, name=name, content=original)
    return file


def _form_to_store(path: Path, *, decoder: Decoder) -> StoredForm:
    return decoder.clean(path, uid_key=naming.uid_key()) if settings.DEIDENTIFY_ORIGINALS else as_it_is(path)


def _save(file: Incoming, *, name: str, content: ContentFile | StoredForm) -> str:
    file.written.append(name)
    return default_storage.save(name, cast(File, content))


def keep_original(file: Incoming) -> StoredFile:
    """In the transaction of its images: the row of the original, whichever import came with this content first."""
    assert file.original is not None  # noqa: S101 - a file that has images was stored
    StoredFile.objects.bulk_create([file.original], ignore_conflicts=True)
    kept = StoredFile.objects.get(sha256=file.sha256)
    if kept.stored_sha256 != file.original.stored_sha256:
        # Stored before in another form: under another setting, or as an earlier version cleaned it.
        transaction.on_commit(partial(default_storage.delete, str(file.original.file)))
    return kept


def remove_files(file: Incoming) -> None:
    """Remove what was written for a file that did not get into the archive, but nothing that rows refer to."""
    needed = set(StoredFile.objects.filter(sha256=file.sha256).values_list("file", flat=True))
    for names in MedicalImage.objects.filter(preview__in=file.written).values_list("preview", "thumbnail"):
        needed.update(names)
    for name in file.written:
        if name not in needed:
            default_storage.delete(name)


def _store_frame(rendering: Rendering, *, file: Incoming) -> MedicalImage:
    """Write preview and thumbnail of a frame, and describe it in a row that is not saved yet."""
    frame_number = rendering.frame_number or 1
    uuid = naming.image_uuid(dataset_pk=file.dataset_pk, sha256=file.sha256, frame_number=frame_number)
    told = file.member.described
    known: dict[str, Any] = dict(rendering.attributes)
    return MedicalImage(
        uuid=uuid,
        dataset_id=file.dataset_pk,
        frame_number=frame_number,
        frame_count=rendering.frame_count,
        preview=_save(file, name=naming.preview_name(uuid), content=ContentFile(rendering.preview)),
        thumbnail=_save(file, name=naming.thumbnail_name(uuid), content=ContentFile(rendering.thumbnail)),
        width=rendering.width,
        height=rendering.height,
        pixel_sha256=rendering.pixel_sha256,
        label=told.label[:100],
        modality=modality_name(told.modality or str(known.get("modality", "")))[:32],
        body_part_examined=(told.body_part or str(known.get("body_part_examined", "")))[:64],
        view_position=known.get("view_position", ""),
        laterality=known.get("laterality", ""),
        photometric_interpretation=known.get("photometric_interpretation", ""),
        study_instance_uid=naming.instance_uid(str(known.get("study_instance_uid", ""))),
        series_instance_uid=naming.instance_uid(str(known.get("series_instance_uid", ""))),
        sop_instance_uid=naming.instance_uid(str(known.get("sop_instance_uid", ""))),
        instance_number=known.get("instance_number"),
        patient_key=naming.patient_key(told.patient_group or str(known.get("patient_id", ""))),
    )
