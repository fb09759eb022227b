"""What people decide about images: whether they are shown, and what their label is.

Each verb is one transaction that locks the rows, changes those that are not there already, writes an ImageChange for
each, and returns the images that it has changed. Only an image that is shown has embeddings: they go in the transaction
that takes it away, so that a search needs no filter to never find it, and come again by an index job.
"""

from collections.abc import Iterable
from functools import partial

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from retrieval.imaging.names import printable
from retrieval.models import Embedding, ImageChange, MedicalImage, ModelVersion
from retrieval.services.indexing import create_index_job, have_missing_embedded

Images = Iterable[MedicalImage]
Standing = MedicalImage.Standing
HELD_BACK = "A person wants it to be looked at before it is shown."


@transaction.atomic
def release(images: Images, *, user: User | None, note: str = "") -> list[MedicalImage]:
    """Show what was held."""
    return _stand(_locked(images, standing=Standing.HELD), new=Standing.SHOWN, user=user, note=note)


@transaction.atomic
def hold(images: Images, *, user: User | None, note: str = "") -> list[MedicalImage]:
    """Show them to nobody until a person has looked at them."""
    return _stand(_locked(images, standing=Standing.SHOWN), new=Standing.HELD, user=user, note=note)


@transaction.atomic
def exclude(images: Images, *, user: User | None, note: str = "") -> list[MedicalImage]:
    """Take them out of the archive. Their files are kept."""
    locked = _locked(images).exclude(standing=Standing.EXCLUDED)
    return _stand(locked, new=Standing.EXCLUDED, user=user, note=note)


@transaction.atomic
def restore(images: Images, *, user: User | None, note: str = "") -> list[MedicalImage]:
    """Take back that they were excluded: what was held then, and so never released, is held again."""
    last = ImageChange.objects.filter(image=OuterRef("pk"), field=ImageChange.Field.STANDING, new=Standing.EXCLUDED)
    excluded = list(_locked(images, standing=Standing.EXCLUDED).annotate(before=Subquery(last.values("old")[:1])))
    held = [image for image in excluded if image.before == Standing.HELD]
    others = [image for image in excluded if image.before != Standing.HELD]
    return [
        *_stand(held, new=Standing.HELD, user=user, note=note),
        *_stand(others, new=Standing.SHOWN, user=user, note=note),
    ]


@transaction.atomic
def relabel(images: Images, *, label: str, user: User | None, note: str = "") -> list[MedicalImage]:
    """Give them another label, made printable as an import makes it; "" is none."""
    label = printable(label.strip())
    changed = list(_locked(images).exclude(label=label))
    _record(changed, field=ImageChange.Field.LABEL, new=label, user=user, note=note)
    for image in changed:
        image.label = label
    MedicalImage.objects.bulk_update(changed, ["label"])
    return changed


def shown_copies(images: Images) -> QuerySet[MedicalImage]:
    """The same files in other datasets, where they are still shown: a decision holds for the images of one."""
    own = [image.pk for image in images]
    files = MedicalImage.objects.filter(pk__in=own).values("original")
    return MedicalImage.objects.shown().filter(original__in=files).exclude(pk__in=own)


def _locked(images: Images, **conditions: str) -> QuerySet[MedicalImage]:
    """Their rows as they are now, in one order for everybody. Who waits for a row sees what became of it."""
    rows = MedicalImage.objects.select_for_update(no_key=True, of=("self",))
    return rows.filter(pk__in=[image.pk for image in images], **conditions).order_by("pk")


def _stand(images: Iterable[MedicalImage], *, new: Standing, user: User | None, note: str) -> list[MedicalImage]:
    changed = list(images)
    _record(changed, field=ImageChange.Field.STANDING, new=new, user=user, note=note)
    for image in changed:
        image.standing = new
        if new == Standing.HELD and not image.held_reason:
            image.held_reason = HELD_BACK
    MedicalImage.objects.bulk_update(changed, ["standing", "held_reason"])
    if new == Standing.SHOWN:
        _have_embedded(changed)
    else:
        Embedding.objects.filter(image__in=changed).delete()
    return changed


def _record(images: list[MedicalImage], *, field: ImageChange.Field, new: str, user: User | None, note: str) -> None:
    ImageChange.objects.bulk_create(
        ImageChange(image=image, field=field, old=getattr(image, field), new=new, note=note, changed_by=user)
        for image in images
    )


def _have_embedded(images: list[MedicalImage]) -> None:
    """As after an import: workers embed what the active version lacks, once this is committed.

    Planned in the same transaction, so that whoever is killed after it loses nothing. That a batch waits for an image
    already is no reason to leave it out: taken before this is committed, the batch does not see that it is shown.
    """
    if not images:
        return
    version = ModelVersion.objects.active()
    if version:
        create_index_job(version=version, publish=True, among=images)
    # Robust: the images are shown by then, whatever becomes of this.
    transaction.on_commit(partial(_have_embedded_by_next, version), robust=True)


def _have_embedded_by_next(planned_for: ModelVersion | None) -> None:
    """Have it embed what its activation did not see, since that was not committed yet.

    Whoever is killed right before this loses no more than the plan: the next end of an import makes it.
    """
    version = ModelVersion.objects.active()
    if version and version != planned_for:
        have_missing_embedded(version)
