"""Questions: asked once, answered once, exactly, by one model version; or refused with a reason."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import DatabaseError, connection
from redis import Redis

from retrieval.models import Embedding, IndexJob, JobStatus, MedicalImage, ModelVersion, Query, SearchResult
from retrieval.services import jobs
from retrieval.services.searching import GONE, ask_again, ask_with_image, ask_with_upload
from retrieval.services.switching import activate_model_version
from retrieval.services.versions import create_model_version
from retrieval.tasks import search_task
from tests.live_site import wait_until
from tests.pictures import drawn_pixels, png
from tests.services.conftest import Answer, ImportFolder, somebody_waits

Ask = Callable[[bytes], Query]
Index = Callable[[ModelVersion], IndexJob]


@pytest.fixture
def images(
    import_folder: ImportFolder, picture_folder: Path, active_version: ModelVersion, index: Index
) -> list[MedicalImage]:
    """Six images, indexed by the active version."""
    import_folder(picture_folder)
    index(active_version)
    return list(MedicalImage.objects.order_by("pk"))


def _files_of_queries(media: Path) -> set[str]:
    return {path.name for path in (media / "queries").rglob("*") if path.is_file()}


def test_an_image_of_the_archive_finds_itself_first(
    images: list[MedicalImage], active_version: ModelVersion, asked: Ask, answer: Answer, media: Path
) -> None:
    query = answer(asked(png(drawn_pixels(4))))
    assert (query.status, query.model_version) == (JobStatus.DONE, active_version)
    results = list(query.results.all())
    assert [result.rank for result in results] == [1, 2, 3, 4, 5, 6]
    assert {result.image for result in results} == set(images)
    distances = [result.distance for result in results]
    assert distances == sorted(distances)
    assert distances[0] < 1e-3 < distances[1]
    assert results[0].image.label == "hand"
    assert min(query.decode_ms, query.embed_ms, query.search_ms) > 0
    # Nothing of the upload is kept but its preview.
    assert query.upload.name == ""
    assert _files_of_queries(media) == {f"{query.uuid.hex}.png"}


def test_more_like_this_needs_no_upload(
    images: list[MedicalImage], person: Callable[..., User], answer: Answer
) -> None:
    query = answer(ask_with_image(user=person("clinician"), image=images[3]))
    assert query.results.get(rank=1).image == images[3]
    assert query.results.get(rank=1).distance == pytest.approx(0, abs=1e-5)


def test_more_like_an_image_that_is_not_indexed_yet(
    images: list[MedicalImage], person: Callable[..., User], answer: Answer
) -> None:
    images[3].embeddings.all().delete()
    query = answer(ask_with_image(user=person("clinician"), image=images[3]))
    assert (query.status, query.results.count()) == (JobStatus.DONE, 5)


def test_an_empty_archive_answers_with_nothing(active_version: ModelVersion, asked: Ask, answer: Answer) -> None:
    query = answer(asked(png(drawn_pixels(4))))
    assert (query.status, query.results.count()) == (JobStatus.DONE, 0)


def test_without_an_active_version_a_question_waits_and_costs_no_attempt(
    images: list[MedicalImage], active_version: ModelVersion, asked: Ask, answer: Answer
) -> None:
    ModelVersion.objects.update(status="ready")
    query = asked(png(drawn_pixels(4)))
    for _ in range(2 * Query.max_attempts):
        query = answer(query)
        assert (query.status, query.attempts) == (JobStatus.QUEUED, 0)
    activate_model_version(active_version)
    assert answer(query).status == JobStatus.DONE


def test_answers_of_versions_are_never_mixed(
    images: list[MedicalImage], active_version: ModelVersion, asked: Ask, answer: Answer
) -> None:
    other = create_model_version(architecture="narrow", weights="none", seed=1)
    old = answer(asked(png(drawn_pixels(4))))
    before = list(old.results.values_list("rank", "image", "distance"))
    activate_model_version(other)
    # Not one image is embedded by it: old embeddings must not stand in.
    assert answer(asked(png(drawn_pixels(4)))).results.count() == 0
    Embedding.objects.create(image=images[0], model_version=other, vector=[1.0] + [0.0] * 511)
    new = answer(asked(png(drawn_pixels(4))))
    assert (new.model_version, [result.image for result in new.results.all()]) == (other, [images[0]])
    old.refresh_from_db()
    assert old.model_version == active_version
    assert list(old.results.values_list("rank", "image", "distance")) == before


def test_a_message_that_comes_twice_is_answered_once(images: list[MedicalImage], asked: Ask) -> None:
    query = asked(png(drawn_pixels(4)))
    search_task(query.pk)
    first = list(SearchResult.objects.values())
    search_task(query.pk)
    query.refresh_from_db()
    assert (query.status, query.attempts) == (JobStatus.DONE, 1)
    assert list(SearchResult.objects.values()) == first


def test_a_message_without_its_row_is_no_error(db: None) -> None:
    search_task(123)


def test_a_refused_file_is_not_kept(active_version: ModelVersion, asked: Ask, answer: Answer, media: Path) -> None:
    query = answer(asked(png(drawn_pixels(4))[:2000]))
    assert query.status == JobStatus.FAILED
    assert "damaged" in query.reason
    assert (query.upload.name, _files_of_queries(media)) == ("", set())


def test_an_upload_that_vanished_is_said_to_be_gone(active_version: ModelVersion, asked: Ask, answer: Answer) -> None:
    query = asked(png(drawn_pixels(4)))
    Path(query.upload.path).unlink()
    query = answer(query)
    assert (query.status, query.reason) == (JobStatus.FAILED, GONE)


def test_an_image_that_was_deleted_meanwhile_is_said_to_be_gone(
    images: list[MedicalImage], person: Callable[..., User], answer: Answer
) -> None:
    query = ask_with_image(user=person("clinician"), image=images[3])
    images[3].delete()
    query = answer(query)
    assert (query.status, query.reason) == (JobStatus.FAILED, GONE)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_image_that_is_deleted_while_it_is_found_costs_no_answer(
    images: list[MedicalImage], person: Callable[..., User], answer: Answer
) -> None:
    """The database looks whether it is there when all is stored: the question is answered anew, at once."""
    query = ask_with_image(user=person("clinician"), image=images[3])
    other = connection.copy()

    def delete_one(execute: Callable, sql: str, *rest: object) -> object:
        if "FOR NO KEY UPDATE" in sql:
            with other.cursor() as cursor:
                cursor.execute("DELETE FROM retrieval_embedding WHERE image_id = %s", [images[0].pk])
                cursor.execute("UPDATE retrieval_importedfile SET image_id = NULL WHERE image_id = %s", [images[0].pk])
                cursor.execute("DELETE FROM retrieval_medicalimage WHERE id = %s", [images[0].pk])
        return execute(sql, *rest)

    try:
        with connection.execute_wrapper(delete_one):
            query = answer(query)
    finally:
        other.close()
    assert (query.status, query.attempts) == (JobStatus.DONE, 1)
    found = list(query.results.order_by("rank").values_list("image", flat=True))
    assert sorted(found) == [image.pk for image in images[1:]]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_question_with_an_image_that_is_being_deleted_and_the_deletion_do_not_wait_for_each_other(
    images: list[MedicalImage], person: Callable[..., User], answer: Answer
) -> None:
    query = ask_with_image(user=person("clinician"), image=images[3])
    other = connection.copy()
    try:
        with ThreadPoolExecutor() as pool, other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM retrieval_medicalimage WHERE id = %s FOR UPDATE", [images[3].pk])
            answered = pool.submit(_on_its_own_connection, lambda: answer(query))
            wait_until(somebody_waits, seconds=60, what="the answer waits for the image")
            cursor.execute("UPDATE retrieval_query SET image_id = NULL WHERE image_id = %s", [images[3].pk])
            cursor.execute("DELETE FROM retrieval_embedding WHERE image_id = %s", [images[3].pk])
            cursor.execute("UPDATE retrieval_importedfile SET image_id = NULL WHERE image_id = %s", [images[3].pk])
            cursor.execute("DELETE FROM retrieval_medicalimage WHERE id = %s", [images[3].pk])
            cursor.execute("COMMIT")
            query = answered.result()
    finally:
        other.close()
    assert (query.status, query.reason, query.attempts) == (JobStatus.FAILED, GONE, 1)


def _on_its_own_connection(work: Callable[[], Query]) -> Query:
    try:
        return work()
    finally:
        connection.close()


def test_a_second_attempt_goes_on_from_the_preview(
    images: list[MedicalImage], asked: Ask, answer: Answer, broker: Redis
) -> None:
    query = asked(png(drawn_pixels(4)))
    claimed = jobs.claim(Query, query.pk)
    assert claimed is not None
    claimed.preview.save("queries/kept.png", ContentFile(png(drawn_pixels(4))), save=False)
    jobs.beat(claimed, preview=claimed.preview.name)
    Path(query.upload.path).unlink()
    jobs.put_back(claimed)
    query = answer(query)
    assert (query.status, query.results.get(rank=1).image.label) == (JobStatus.DONE, "hand")


def test_a_version_without_its_weights_fails_the_question_and_keeps_it(
    active_version: ModelVersion, asked: Ask, answer: Answer
) -> None:
    Path(active_version.weights.path).unlink()
    query = answer(asked(png(drawn_pixels(4))))
    assert query.status == JobStatus.FAILED
    assert "weights file" in query.reason
    assert Path(query.preview.path).is_file()


def test_a_question_is_asked_again_from_its_preview(images: list[MedicalImage], asked: Ask, answer: Answer) -> None:
    query = answer(asked(png(drawn_pixels(4))))
    again = answer(ask_again(query))
    assert again.pk != query.pk
    assert list(again.results.values_list("rank", "image")) == list(query.results.values_list("rank", "image"))


def test_a_question_that_the_database_does_not_take_leaves_no_file(db: None, media: Path) -> None:
    nobody = User(username="not saved", pk=999)
    with pytest.raises(DatabaseError):
        _ask_and_check(nobody)
    assert _files_of_queries(media) == set()


def _ask_and_check(user: User) -> None:
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        ask_with_upload(user=user, upload=ContentFile(png(drawn_pixels(1)), name="upload"))
