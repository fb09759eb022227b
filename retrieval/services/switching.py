"""Which model version answers: activating one, rolling back, and retiring what is not needed any more."""

from __future__ import annotations

import hashlib

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from retrieval.models import Embedding, IndexBatch, JobStatus, ModelVersion
from retrieval.services.versions import VersionRefused, VersionRetired, WeightsUnusable, refuse_retired

# Rows in one statement: short enough to disturb nobody.
DELETED_AT_ONCE = 10_000


class VersionInUse(VersionRefused):
    def __init__(self, version: ModelVersion) -> None:
        super().__init__(
            f"Model version {version.number} is active: it answers every search. Activate another version before you "
            "retire it."
        )


class NothingToRollBackTo(VersionRefused):
    def __init__(self) -> None:
        super().__init__("No other version that could take over was ever active: there is nothing to roll back to.")


class SwitchedMeanwhile(VersionRefused):
    def __init__(self) -> None:
        super().__init__(
            "Somebody else has just changed the model versions, and nothing was switched. See which one is active now, "
            "then decide again."
        )


def activate_model_version(version: ModelVersion, *, agreed: str | None = None) -> ModelVersion | None:
    """Switch to `version` in one step and return the one before.

    Raises VersionRefused when it is retired or its weights file is not what was stored, and ModelVersion.DoesNotExist
    when it was deleted meanwhile: the one before stays active then. `agreed` is the number of the active version, as
    somebody was shown it who was told what speaks against the switch: with another by now it raises SwitchedMeanwhile.
    """
    _check_weights(version)
    with transaction.atomic():
        rows = _locked_versions()
        if agreed not in (None, _active_number(rows)):
            raise SwitchedMeanwhile
        return _switch(rows, to=version)


def version_to_roll_back_to() -> ModelVersion | None:
    return ModelVersion.objects.last_active_before()


def roll_back(*, agreed: tuple[str, str] | None = None) -> ModelVersion:
    """Switch back to the version that was active before, in one step, and return it. Raises VersionRefused.

    `agreed` are the numbers of the active version and of the one to go back to, as somebody was shown them: with others
    by now it raises SwitchedMeanwhile, since going back once more would undo what another person has just done.
    """
    version = version_to_roll_back_to()
    if version is None:
        raise NothingToRollBackTo
    _check_weights(version)
    with transaction.atomic():
        rows = _locked_versions()
        if version_to_roll_back_to() != version or (agreed and agreed != (_active_number(rows), str(version.number))):
            raise SwitchedMeanwhile
        _switch(rows, to=version)
    version.refresh_from_db()
    return version


def _active_number(rows: dict[int, ModelVersion]) -> str:
    return next((str(row.number) for row in rows.values() if row.status == ModelVersion.Status.ACTIVE), "")


def _check_weights(version: ModelVersion) -> None:
    """Refuse a version whose file is missing, or damaged, or something else in its place.

    Nothing in the file is interpreted. It takes a second for 600 MB: not to be done while rows are locked.
    """
    try:
        with version.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    # ValueError: a retired version names no file.
    except (OSError, ValueError) as error:
        refuse_retired(version)
        raise WeightsUnusable(version, what="missing or cannot be read") from error
    if digest != version.weights_sha256:
        raise WeightsUnusable(version, what="damaged, or another file has taken its place")


def _locked_versions() -> dict[int, ModelVersion]:
    """All versions, locked in order. Answers and embeddings that refer to them are stored meanwhile all the same."""
    return {row.pk: row for row in ModelVersion.objects.select_for_update(no_key=True).order_by("pk")}


def _switch(rows: dict[int, ModelVersion], *, to: ModelVersion) -> ModelVersion | None:
    """Off, then on."""
    _refuse_missing(to, rows=rows)
    if rows[to.pk].status == ModelVersion.Status.RETIRED:
        raise VersionRetired(to)
    ModelVersion.objects.filter(status="active").update(status=ModelVersion.Status.READY)
    ModelVersion.objects.filter(pk=to.pk).update(status="active", activated_at=timezone.now())
    return next((row for row in rows.values() if row.status == ModelVersion.Status.ACTIVE), None)


def _refuse_missing(version: ModelVersion, *, rows: dict[int, ModelVersion]) -> None:
    if version.pk not in rows:
        raise ModelVersion.DoesNotExist(f"There is no model version {version.number}.")


def retire_model_version(version: ModelVersion) -> None:
    """Give a version up for good: its file, its embeddings and what waits to be embedded by it. Its row stays.

    Raises VersionInUse for the active one, ModelVersion.DoesNotExist. May be interrupted: workers delete the embeddings
    that are left, and check_archive names a file that is left.
    """
    # Durable: what is deleted afterwards must not come back by a rollback of the row alone.
    with transaction.atomic(durable=True):
        rows = _locked_versions()
        _refuse_missing(version, rows=rows)
        if rows[version.pk].status == ModelVersion.Status.ACTIVE:
            raise VersionInUse(version)
        ModelVersion.objects.filter(pk=version.pk).update(status=ModelVersion.Status.RETIRED, weights="")
        # A worker that is at one of these has lost its claim, and stores nothing any more.
        IndexBatch.objects.unfinished().filter(index_job__model_version=version).update(
            status=JobStatus.FAILED, finished_at=timezone.now(), reason=str(VersionRetired(version))
        )
    if name := rows[version.pk].weights.name:
        default_storage.delete(name)
    _delete_embeddings(version)
    version.refresh_from_db()


def _delete_embeddings(version: ModelVersion) -> None:
    while _delete_some_embeddings(version):
        pass


def _delete_some_embeddings(version: ModelVersion) -> bool:
    """Whether there were any."""
    embeddings = Embedding.objects.of(version)
    some = list(embeddings.values_list("pk", flat=True)[:DELETED_AT_ONCE])
    return bool(embeddings.filter(pk__in=some).delete()[0])


def delete_embeddings_of_retired() -> None:
    """Some of what interrupted retirements have left."""
    for version in ModelVersion.objects.filter(status=ModelVersion.Status.RETIRED):
        _delete_some_embeddings(version)
