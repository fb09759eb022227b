"""What people decide about images: nobody sees, finds or learns from one that is held or excluded."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from retrieval.imaging import FileRefused
from retrieval.models import (
    Dataset,
    Embedding,
    ImageChange,
    IndexBatch,
    IndexJob,
    MedicalImage,
    ModelVersion,
    Query,
)
from retrieval.services import indexing, jobs
from retrieval.services.checking import check_archive
from retrieval.services.curation import exclude, hold, relabel, release, restore
from retrieval.services.indexing import _embed_and_store, create_index_job, index_batch, work_on_index_job
from retrieval.services.searching import NOT_SHOWN, SearchFilter, ask_again, ask_with_image, find_neighbours
from tests.pictures import drawn_pixels, png
from tests.services.conftest import Answer, ImportFolder
from training.models import TrainingRun
from training.services.images import images_of

Standing = MedicalImage.Standing
Images = list[MedicalImage]


@pytest.fixture
def curator(person: Callable[..., User]) -> User:
    return person("staff")


@pytest.fixture
def many(
    active_version: ModelVersion, import_folder: ImportFolder, index: Callable[[ModelVersion], IndexJob], tmp_path: Path
) -> Images:
    """Thirty images of two classes, all of them embedded."""
    for number in range(30):
        path = tmp_path / "many" / ("chest" if number % 2 else "hand") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(drawn_pixels(number)))
    import_folder(tmp_path / "many")
    index(active_version)
    return list(MedicalImage.objects.order_by("pk"))


def _vector(image: MedicalImage) -> np.ndarray:
    return np.array(image.embeddings.get().vector, dtype=np.float32)


def _standings(images: Images) -> list[str]:
    return [MedicalImage.objects.get(pk=image.pk).standing for image in images]


def test_an_excluded_image_never_comes_back_and_the_answer_stays_whole(
    many: Images, curator: User, active_version: ModelVersion
) -> None:
    asked = _vector(many[0])
    before = [found.image for found in find_neighbours(asked, version=active_version)]
    gone = [image for image in before[:8] if image]
    exclude(gone, user=curator)
    after = [found.image for found in find_neighbours(asked, version=active_version)]
    assert len(after) == 20
    assert not set(after) & set(gone)
    # Those that were nearest but for these, in the same order.
    assert after[:12] == before[8:]
    chest = find_neighbours(asked, version=active_version, narrowed=SearchFilter(label="chest"))
    assert len(chest) == 15 - sum(image.label == "chest" for image in gone)
    assert not {found.image for found in chest} & set(gone)


def test_nothing_comes_back_through_an_index_either(many: Images, curator: User, active_version: ModelVersion) -> None:
    """As design has it once there are rows enough: a partial index of the version's rows, read in order."""
    asked = _vector(many[0])
    exclude(many[:8], user=curator)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "CREATE INDEX nearest ON retrieval_embedding USING hnsw (vector halfvec_cosine_ops) "
            f"WHERE model_version_id = {active_version.pk}"
        )
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        assert "Index Scan using nearest" in Embedding.objects.of(active_version).nearest(asked)[:20].explain()
        found = [each.image for each in find_neighbours(asked, version=active_version)]
    assert len(found) == 20
    assert not set(found) & set(many[:8])


def test_what_is_released_is_embedded_and_found(
    many: Images,
    curator: User,
    active_version: ModelVersion,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    image, asked = many[3], _vector(many[3])
    hold([image], user=curator)
    assert not Embedding.objects.filter(image=image).exists()
    assert image not in [found.image for found in find_neighbours(asked, version=active_version, k=30)]
    with django_capture_on_commit_callbacks() as sent:
        assert release([image], user=curator) == [image]
    # Batches go to the workers with the commit, as after an import.
    job = IndexJob.objects.latest("pk")
    assert (len(sent), job.total, job.batches.count()) == (2, 1, 1)
    work_on_index_job(job)
    assert [found.image for found in find_neighbours(asked, version=active_version, k=1)] == [image]


def test_an_image_that_is_not_shown_is_not_embedded(many: Images, curator: User, active_version: ModelVersion) -> None:
    hold(many[:3], user=curator)
    exclude(many[3:5], user=curator)
    assert create_index_job(version=active_version, publish=False).total == 0
    assert check_archive()["without_embedding"] == 0
    Embedding.objects.all().delete()
    assert create_index_job(version=active_version, publish=False).total == 25


def test_an_image_that_is_taken_away_while_it_is_embedded_stays_without(
    many: Images, curator: User, active_version: ModelVersion
) -> None:
    """A worker has read its images when they are excluded, and has not stored anything."""
    Embedding.objects.all().delete()
    [batch] = create_index_job(version=active_version, publish=False).batches.all()
    claimed = jobs.claim(IndexBatch, batch.pk)
    assert claimed is not None
    exclude(many[:2], user=curator)
    assert sum(_embed_and_store(many, batch=claimed, version=active_version)) == 30
    assert set(Embedding.objects.values_list("image", flat=True)) == {image.pk for image in many[2:]}


def test_images_released_into_a_batch_that_waits_are_embedded_by_it(
    many: Images, curator: User, active_version: ModelVersion
) -> None:
    hold(many[5:20], user=curator)
    Embedding.objects.all().delete()
    [batch] = create_index_job(version=active_version, publish=False).batches.all()
    assert batch.total == 15
    release(many[5:20], user=curator)
    claimed = jobs.claim(IndexBatch, batch.pk)
    assert claimed is not None
    index_batch(claimed)
    assert Embedding.objects.count() == 30
    assert (claimed.status, claimed.done) == ("done", 15)


def test_a_release_plans_its_own_images_alone(
    many: Images, curator: User, active_version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a large archive waits to be embedded, each click would plan the rest of it again."""
    monkeypatch.setattr(indexing, "BATCH_IMAGES", 4)
    own = [many[1], many[3], *many[20:25]]
    hold(own, user=curator)
    Embedding.objects.all().delete()
    IndexJob.objects.all().delete()
    release(own, user=curator)
    job = IndexJob.objects.get()
    assert job.total == 7
    planned = [(batch.first_image_id, batch.last_image_id, batch.total) for batch in job.batches.order_by("pk")]
    assert planned == [
        (many[1].pk, many[3].pk, 2),
        (many[20].pk, many[23].pk, 4),
        (many[24].pk, many[24].pk, 1),
    ]


def test_counts_and_choices_are_of_what_is_shown(many: Images, curator: User, active_version: ModelVersion) -> None:
    hold([image for image in many if image.label == "chest"], user=curator)
    exclude(many[-1:], user=curator)
    dataset = Dataset.objects.with_counts(active_version).get()
    assert (dataset.image_count, dataset.class_count, dataset.searchable_count) == (14, 1, 14)
    assert dataset.held_count == 15
    assert [(row["label"], row["count"]) for row in dataset.images.classes()] == [("hand", 14)]
    assert MedicalImage.objects.filter_choices()["labels"] == ["hand"]


def test_a_new_training_run_learns_nothing_from_them(
    dataset: Dataset, start: Callable[..., TrainingRun], curator: User
) -> None:
    images = list(dataset.images.order_by("pk"))
    hold(images[:4], user=curator)
    exclude(images[4:8], user=curator)
    run = start()
    parts = images_of(run, on_progress=lambda *_: None)
    assert {image.pk for part in parts.values() for image in part} == {image.pk for image in images[8:]}
    # What a run has learnt from is still told of it afterwards.
    exclude(images[8:10], user=curator)
    assert run.split.count() == len(images) - 8


def test_no_question_is_asked_with_them(many: Images, curator: User, answer: Answer) -> None:
    query = ask_with_image(user=curator, image=many[0])
    exclude(many[:1], user=curator)
    assert (answer(query).status, Query.objects.get().reason) == ("failed", NOT_SHOWN)
    with pytest.raises(FileRefused, match="not shown"):
        ask_again(Query.objects.get())


def test_the_history_says_who_what_and_when(many: Images, curator: User) -> None:
    hold(many[:1], user=curator, note="name in the corner")
    release(many[:1], user=None)
    relabel(many[:1], label="foot", user=curator)
    relabel(many[:1], label="foot", user=curator)
    newest = many[0].changes.all()
    assert [(each.field, each.old, each.new, each.note, each.changed_by) for each in newest] == [
        ("label", "chest", "foot", "", curator),
        ("standing", "held", "shown", "", None),
        ("standing", "shown", "held", "name in the corner", curator),
    ]
    assert newest[0].changed_at > newest[2].changed_at
    assert MedicalImage.objects.get(pk=many[0].pk).label == "foot"


def test_a_label_is_made_printable(many: Images, curator: User) -> None:
    relabel(many[:1], label=" lu\u202eng\x07 ", user=curator)
    assert MedicalImage.objects.get(pk=many[0].pk).label == many[0].changes.get().new == "lu\ufffdng\ufffd"
    assert relabel(many[:1], label="lu\u202eng\x07", user=curator) == []


def test_what_is_there_already_is_left_alone(many: Images, curator: User) -> None:
    assert exclude(many[:3], user=curator) == many[:3]
    assert exclude(many[:4], user=curator) == many[3:4]
    # Who releases does not bring back what somebody has taken out.
    assert release(many[:4], user=curator) == []
    assert hold(many[:4], user=curator) == []
    assert restore(many[:6], user=curator) == many[:4]
    assert _standings(many[:6]) == [Standing.SHOWN] * 6
    assert ImageChange.objects.count() == 8


def test_restoring_shows_nothing_that_nobody_released(many: Images, curator: User) -> None:
    hold(many[:1], user=curator)
    exclude(many[:2], user=curator)
    restore(many[:2], user=curator)
    assert _standings(many[:2]) == [Standing.HELD, Standing.SHOWN]


def test_changes_and_history_stand_or_fall_together(many: Images, curator: User) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        release(hold(many[:2], user=curator), user=curator)
        MedicalImage.objects.filter(pk=many[0].pk).update(standing=Standing.HELD, held_reason="")
    assert _standings(many[:2]) == [Standing.SHOWN] * 2
    assert not ImageChange.objects.exists()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_people_release_at_once(import_folder: ImportFolder, picture_folder: Path, curator: User) -> None:
    import_folder(picture_folder)
    images = list(MedicalImage.objects.order_by("pk"))
    hold(images, user=curator)
    together = threading.Barrier(2)
    released: list[Images] = []

    def work(own: Images) -> None:
        together.wait()
        released.append(release(own, user=curator))
        connection.close()

    # In opposite orders, which must not make them wait for each other.
    people = [threading.Thread(target=work, args=(own,)) for own in (images, images[::-1])]
    for each in people:
        each.start()
    for each in people:
        each.join()
    assert sorted(map(len, released)) == [0, 6]
    assert ImageChange.objects.filter(new=Standing.SHOWN).count() == 6
    assert _standings(images) == [Standing.SHOWN] * 6
