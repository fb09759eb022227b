"""The search itself: exact, complete under every filter, and over vectors that lie in their rows."""

from collections.abc import Callable

import numpy as np
import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from retrieval.models import Dataset, Embedding, MedicalImage, ModelVersion, StoredFile
from retrieval.services.searching import SearchFilter, find_neighbours

COUNT = 400
# So few that a search which filters its 20 nearest afterwards would come back with none.
RARE = 3


def _unit_vectors(seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(COUNT, 512)).astype(np.float16).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _version(number: int) -> ModelVersion:
    return ModelVersion.objects.create(
        number=number, architecture="narrow", weights_source="none", weights=f"w{number}", weights_sha256="0" * 64
    )


@pytest.fixture
def images(db: None) -> list[MedicalImage]:
    """Two datasets, three modalities, and a label that only the last RARE images have."""
    datasets = [Dataset.objects.create(name=name) for name in ("even", "odd")]
    for number in range(COUNT):
        original = StoredFile.objects.create(sha256=f"{number:064x}", file=f"o{number}", size=1, is_deidentified=True)
        MedicalImage.objects.create(
            dataset=datasets[number % 2],
            original=original,
            preview=f"p{number}",
            thumbnail=f"t{number}",
            width=1,
            height=1,
            modality=("CT", "MRI", "X-ray")[number % 3],
            label="rare" if number >= COUNT - RARE else "common",
        )
    return list(MedicalImage.objects.order_by("pk"))


@pytest.fixture
def embedded(images: list[MedicalImage]) -> tuple[ModelVersion, np.ndarray]:
    """Two versions with other vectors; the first one is returned."""
    versions, vectors = [_version(1), _version(2)], [_unit_vectors(1), _unit_vectors(2)]
    for version, each in zip(versions, vectors, strict=True):
        Embedding.objects.bulk_create(
            Embedding(image=image, model_version=version, vector=vector)
            for image, vector in zip(images, each, strict=True)
        )
    return versions[0], vectors[0]


def test_the_order_is_that_of_the_cosine_distance(
    images: list[MedicalImage], embedded: tuple[ModelVersion, np.ndarray]
) -> None:
    version, vectors = embedded
    asked = _unit_vectors(3)[0]
    found = find_neighbours(asked, version=version)
    distances = 1 - vectors @ asked
    nearest = np.argsort(distances)[:20]
    assert [each.image for each in found] == [images[number] for number in nearest]
    assert [each.rank for each in found] == list(range(1, 21))
    assert np.allclose([each.distance for each in found], distances[nearest], atol=1e-3)
    assert [each.similarity for each in found] == [1 - each.distance for each in found]


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        (SearchFilter(dataset="odd"), 20),
        (SearchFilter(modality="MR"), 20),
        (SearchFilter(label="rare"), RARE),
        (SearchFilter(dataset="odd", modality="MRI", label="rare"), 1),
        (SearchFilter(label="no such label"), 0),
    ],
)
def test_a_filter_never_shortens_the_answer(
    embedded: tuple[ModelVersion, np.ndarray], narrowed: SearchFilter, expected: int
) -> None:
    version, _ = embedded
    found = find_neighbours(_unit_vectors(3)[0], version=version, narrowed=narrowed)
    assert len(found) == expected
    for each in found:
        assert each.image is not None
        assert narrowed.dataset in ("", each.image.dataset.name)
        assert narrowed.label in ("", each.image.label)
        assert not narrowed.modality or each.image.modality == "MRI"


def test_as_many_as_are_asked_for(embedded: tuple[ModelVersion, np.ndarray]) -> None:
    version, vectors = embedded
    assert [len(find_neighbours(vectors[0], version=version, k=k)) for k in (1, 50, COUNT + 1)] == [1, 50, COUNT]


@pytest.mark.parametrize(("narrowed", "k"), [(SearchFilter(), 20), (SearchFilter(dataset="odd"), 20)])
def test_images_that_are_taken_away_meanwhile_leave_their_places_to_the_next(
    embedded: tuple[ModelVersion, np.ndarray], narrowed: SearchFilter, k: int
) -> None:
    """Between the two queries, the second time too: as if the answer had been whole from the beginning."""
    version, _ = embedded
    asked = _unit_vectors(3)[0]
    nearest = [each.image for each in find_neighbours(asked, version=version, narrowed=narrowed, k=k + 2)]
    leaving = nearest[:2]

    def take_one_away(execute: Callable, sql: str, *rest: object) -> object:
        if sql.startswith("SELECT") and 'FROM "retrieval_medicalimage"' in sql and leaving:
            gone = leaving.pop()
            assert gone is not None
            Embedding.objects.filter(image=gone).delete()
            MedicalImage.objects.filter(pk=gone.pk).update(standing=MedicalImage.Standing.EXCLUDED)
        return execute(sql, *rest)

    with connection.execute_wrapper(take_one_away):
        found = find_neighbours(asked, version=version, narrowed=narrowed, k=k)
    assert [each.image for each in found] == nearest[2:]
    assert [each.rank for each in found] == list(range(1, k + 1))


def test_equal_distances_have_one_order(images: list[MedicalImage]) -> None:
    version = _version(1)
    Embedding.objects.bulk_create(
        Embedding(image=image, model_version=version, vector=np.eye(512)[0]) for image in reversed(images)
    )
    found = find_neighbours(np.eye(512)[0], version=version)
    assert [each.image for each in found] == images[:20]
    found = find_neighbours(np.eye(512)[0], version=version, asked_pk=images[7].pk)
    assert [each.image for each in found] == [images[7], *images[:7], *images[8:20]]
    assert [each.rank for each in found] == list(range(1, 21))


def test_a_search_is_two_queries_and_a_look_at_its_version(
    embedded: tuple[ModelVersion, np.ndarray], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    version, vectors = embedded
    with django_assert_num_queries(3):
        for found in find_neighbours(vectors[0], version=version):
            assert found.image is not None
            assert found.image.dataset.name
            assert found.image.original.sha256


def test_vectors_lie_in_their_rows(embedded: tuple[ModelVersion, np.ndarray]) -> None:
    """Out of line (TOAST) each would cost a look-up of its own, and a search many times as long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'retrieval_embedding'")
        assert cursor.fetchone() == (0,)
