"""Retiring a version: its rows and its file go, at once or in two goes, and nothing is served by it any more."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from retrieval.models import Embedding, IndexBatch, IndexJob, JobStatus, MedicalImage, ModelVersion, Query
from retrieval.services import jobs, switching
from retrieval.services.checking import check_archive, remove_orphans
from retrieval.services.indexing import create_index_job
from retrieval.services.searching import ask_again, ask_with_image
from retrieval.services.switching import (
    VersionInUse,
    activate_model_version,
    delete_embeddings_of_retired,
    retire_model_version,
)
from retrieval.services.versions import VersionRetired, create_model_version, load_embedder
from tests.pictures import drawn_pixels, png
from tests.services.conftest import Answer, ImportFolder

Index = Callable[[ModelVersion], IndexJob]
SENTENCE = "Model version {} is retired: its weights and its embeddings are gone. Choose another version."


@pytest.fixture
def other(
    active_version: ModelVersion, import_folder: ImportFolder, picture_folder: Path, index: Index
) -> ModelVersion:
    """A second version, beside the active one; both have embedded the same six images."""
    import_folder(picture_folder)
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    for version in (active_version, other):
        index(version)
    return other


def _embeddings(version: ModelVersion) -> int:
    return Embedding.objects.of(version).count()


def test_rows_and_file_go_and_the_version_stays_by_name(
    active_version: ModelVersion, other: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switching, "DELETED_AT_ONCE", 4)
    path, digest = Path(other.weights.path), other.weights_sha256
    retire_model_version(other)
    assert (other.number, other.status, other.weights.name, other.weights_sha256) == (2, "retired", "", digest)
    assert not path.exists()
    assert (_embeddings(other), _embeddings(active_version)) == (0, 6)
    assert ModelVersion.objects.active() == active_version
    assert check_archive()["ok"] is True


def test_the_active_version_is_not_retired(active_version: ModelVersion, other: ModelVersion) -> None:
    with pytest.raises(VersionInUse, match="Model version 1 is active: it answers every search"):
        retire_model_version(active_version)
    active_version.refresh_from_db()
    assert (active_version.status, _embeddings(active_version)) == ("active", 6)
    assert Path(active_version.weights.path).is_file()


def test_a_version_that_was_deleted_is_not_retired(other: ModelVersion) -> None:
    ModelVersion.objects.filter(pk=other.pk).delete()
    with pytest.raises(ModelVersion.DoesNotExist):
        retire_model_version(other)


@pytest.mark.parametrize("values", [{"status": "retired"}, {"weights": ""}, {"status": "active", "weights": ""}])
def test_the_database_refuses_half_a_retirement(other: ModelVersion, values: dict[str, str]) -> None:
    ModelVersion.objects.exclude(pk=other.pk).update(status="ready")
    with pytest.raises(IntegrityError, match="modelversion_weights_until_retired"), transaction.atomic():
        ModelVersion.objects.filter(pk=other.pk).update(**values)


def test_many_versions_can_be_retired_but_two_never_share_a_file(active_version: ModelVersion) -> None:
    for seed in (1, 2):
        retire_model_version(create_model_version(architecture="narrow", weights="none", seed=seed))
    third = create_model_version(architecture="narrow", weights="none", seed=3)
    with pytest.raises(IntegrityError, match="modelversion_weights_unique"), transaction.atomic():
        ModelVersion.objects.filter(pk=third.pk).update(weights=active_version.weights.name)


@pytest.mark.parametrize("finish", [retire_model_version, lambda _: delete_embeddings_of_retired()])
def test_what_an_interruption_left_is_finished_by_the_next_try_or_a_worker(
    active_version: ModelVersion, other: ModelVersion, finish: Callable[[ModelVersion], None]
) -> None:
    path, name = Path(other.weights.path), other.weights.name
    # As a process leaves it that is killed between its transaction and its clearing up.
    ModelVersion.objects.filter(pk=other.pk).update(status="retired", weights="")
    os.utime(path, (time.time() - 3600,) * 2)
    assert check_archive()["orphan_files"] == [name]
    finish(other)
    assert (_embeddings(other), _embeddings(active_version)) == (0, 6)
    assert remove_orphans() == [name]
    assert check_archive()["ok"] is True


def test_it_is_not_activated_again(active_version: ModelVersion, other: ModelVersion) -> None:
    as_it_was = ModelVersion.objects.get(pk=other.pk)
    retire_model_version(other)
    for version in (other, as_it_was):
        with pytest.raises(VersionRetired) as refused:
            activate_model_version(version)
        assert str(refused.value) == SENTENCE.format(2)
    assert ModelVersion.objects.active() == active_version


def test_a_process_that_has_it_loaded_does_not_use_it(other: ModelVersion) -> None:
    load_embedder(other.pk)
    retire_model_version(other)
    with pytest.raises(VersionRetired):
        load_embedder(other.pk)


def test_what_waits_to_be_indexed_by_it_fails_with_the_reason(
    active_version: ModelVersion, other: ModelVersion
) -> None:
    Embedding.objects.all().delete()
    wanted = create_index_job(version=other, publish=False)
    kept = create_index_job(version=active_version, publish=False)
    retire_model_version(other)
    batch = wanted.batches.get()
    assert (batch.status, batch.reason) == (JobStatus.FAILED, SENTENCE.format(2))
    assert jobs.claim(IndexBatch, batch.pk) is None
    assert kept.batches.get().status == JobStatus.QUEUED


def test_its_answers_stay_and_their_questions_can_be_asked_again(
    active_version: ModelVersion,
    other: ModelVersion,
    person: Callable[..., User],
    asked: Callable[[bytes], Query],
    answer: Answer,
) -> None:
    activate_model_version(other)
    image = MedicalImage.objects.earliest("pk")
    similar, uploaded = answer(ask_with_image(user=person("staff"), image=image)), answer(asked(png(drawn_pixels(4))))
    activate_model_version(active_version)
    retire_model_version(other)
    for query in (similar, uploaded):
        query.refresh_from_db()
        assert (query.model_version, query.results.count()) == (other, 6)
        again = answer(ask_again(query))
        assert (again.status, again.model_version, again.results.count()) == (JobStatus.DONE, active_version, 6)
