"""Writing what is decoded of a file into the archive's storage, before the database knows of it."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Q

from retrieval.imaging import Decoder, FileRefused, Member, Rendering, StoredForm, as_it_is
from retrieval.models import MedicalImage, StoredFile
from retrieval.services import naming
from retrieval.services.modalities import modality_name

# Any number that no other lock of this database has.
FILES_LOCK = 7_310_577


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
    # The row of the original and what is to lie there, once it has been decoded.
    original: StoredFile | None = None
    form: StoredForm | None = None
    images: list[MedicalImage] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def decode_and_store(decoder: Decoder, file: Incoming) -> Incoming:
    """In a thread: decode and write the files. No database here, connections belong to threads."""
    if file.path is None or not file.is_new:
        return file
    try:
        for rendering in decoder.render(file.path):
            file.images.append(_store_frame(rendering, file=file))
        file.form = _form_to_store(file.path, decoder=decoder)
    except FileRefused as refused:
        file.refusal = refused.reason
        return file
    stored_sha256 = file.form.sha256()
    name = naming.original_name(file.sha256, stored_sha256=stored_sha256)
    file.original = StoredFile(
        sha256=file.sha256,
        stored_sha256=stored_sha256,
        file=name,
        size=file.form.size,
        is_deidentified=settings.DEIDENTIFY_ORIGINALS,
    )
    _save(file, name=name, content=file.form)
    return file


def _form_to_store(path: Path, *, decoder: Decoder) -> StoredForm:
    return decoder.clean(path, uid_key=naming.uid_key()) if settings.DEIDENTIFY_ORIGINALS else as_it_is(path)


def _save(file: Incoming, *, name: str, content: ContentFile | StoredForm) -> str:
    file.written.append(name)
    return default_storage.save(name, cast(File, content))


def hold_written(files: Sequence[Incoming]) -> None:
    """Until the end of the transaction what was written of the files stays, and what went meanwhile is written anew.

    Names are derived from content: another import of the same file that ends early, or refuses it, takes along what no
    row refers to yet. Reading a file anew is slow for a transaction, but rare, and nobody can remove it once more.
    The file may be refused then.
    """
    if files:
        hold_files()
    for file in files:
        names = [str(field) for image in file.images for field in (image.preview, image.thumbnail)]
        if not all(map(default_storage.exists, names)):
            file.images.clear()
            with Decoder() as decoder:
                decode_and_store(decoder, file)


def keep_originals(files: Sequence[Incoming]) -> dict[str, StoredFile]:
    """By content: the row of each file, which is held, and the original itself, for as long as rows need it.

    The last dataset that held the same content may be deleted at this moment, and take along what was written already.
    """
    written = {file.sha256: file.original for file in files if file.original}
    kept: dict[str, StoredFile] = {}
    # Two statements for many files. Once more where a deletion that held a row has taken it away.
    while missing := sorted(written.keys() - kept.keys()):
        StoredFile.objects.bulk_create([written[sha256] for sha256 in missing], ignore_conflicts=True)
        # In the order in which a deletion holds them, so that the two never wait for each other.
        held = StoredFile.objects.select_for_update().filter(sha256__in=missing).order_by("pk")
        kept.update((row.sha256, row) for row in held)
    for file in files:
        _keep_as_written(file, kept=kept[file.sha256])
    return kept


def _keep_as_written(file: Incoming, *, kept: StoredFile) -> None:
    """See that the original lies where its row says, which may be another place than this file's."""
    written, form = file.original, file.form
    assert written is not None and form is not None  # noqa: S101 - a file that has images was stored
    if kept.stored_sha256 != written.stored_sha256:
        # Stored before in another form: under another setting, or as an earlier version cleaned it.
        transaction.on_commit(partial(remove_unneeded, [str(written.file)]))
    elif not default_storage.exists(str(kept.file)):
        _save(file, name=str(kept.file), content=form)


def remove_unneeded(names: Collection[str]) -> set[str]:
    """Remove those of the files that no original and no image refers to, and return their names.

    Who adds a row for a file that was there before waits for the end of this, and then looks whether it still is.
    """
    if not names:
        return set()
    with transaction.atomic():
        _lock_files("pg_advisory_xact_lock")
        needed = set(StoredFile.objects.filter(file__in=names).values_list("file", flat=True))
        rendered = MedicalImage.objects.filter(Q(preview__in=names) | Q(thumbnail__in=names))
        for pair in rendered.values_list("preview", "thumbnail"):
            needed.update(pair)
        unneeded = set(names) - needed
        for name in unneeded:
            default_storage.delete(name)
    return unneeded


def hold_files() -> None:
    """Until the end of the transaction nobody removes a file: what is there now is there for a row that needs it."""
    _lock_files("pg_advisory_xact_lock_shared")


def _lock_files(function: str) -> None:
    """Until the end of the transaction. Imports share the lock; removing excludes them for as long as it takes."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [FILES_LOCK])


def _store_frame(rendering: Rendering, *, file: Incoming) -> MedicalImage:
    """Write preview and thumbnail of a frame, and describe it in a row that is not saved yet."""
    frame_number = rendering.frame_number or 1
    uuid = naming.image_uuid(dataset_pk=file.dataset_pk, sha256=file.sha256, frame_number=frame_number)
    told = file.member.described
    known: dict[str, Any] = dict(rendering.attributes)
    reason = rendering.review_reason if settings.REVIEW_BURNED_IN else ""
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
        # People number patients from 0 on; only what a device wrote may be a placeholder.
        patient_key=naming.patient_key(told.patient_group or naming.known_patient(str(known.get("patient_id", "")))),
        standing=MedicalImage.Standing.HELD if reason else MedicalImage.Standing.SHOWN,
        held_reason=reason,
    )
