"""What is released or imported at the moment of a switch is embedded by the version that serves afterwards."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, transaction
from redis import Redis

from retrieval.models import IndexJob, MedicalImage, ModelVersion
from retrieval.services.curation import hold, release
from retrieval.services.versions import create_model_version
from tests.services.conftest import ImportFolder
from training.services.activation import go_back, put_into_service

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def images(import_folder: ImportFolder, picture_folder: Path, active_version: ModelVersion) -> list[MedicalImage]:
    """Six, the last of them held."""
    import_folder(picture_folder)
    images = list(MedicalImage.objects.order_by("pk"))
    hold(images[-1:], user=None)
    return images


@pytest.fixture
def candidate(active_version: ModelVersion) -> ModelVersion:
    return create_model_version(architecture="narrow", weights="none", seed=1)


def _planned(version: ModelVersion) -> list[tuple[int, int]]:
    jobs = IndexJob.objects.filter(model_version=version).order_by("pk", "batches__pk")
    return list(jobs.values_list("batches__first_image_id", "batches__last_image_id"))


def _on_a_connection_of_its_own(work: Callable[[], object]) -> None:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool:
        pool.submit(run).result()


def test_what_is_released_while_the_version_is_switched_is_embedded_by_the_new_one(
    images: list[MedicalImage], active_version: ModelVersion, candidate: ModelVersion, broker: Redis
) -> None:
    """The release has read which version is active, and is not seen by the activation."""
    last = images[-1]
    with transaction.atomic():
        release([last], user=None)
        _on_a_connection_of_its_own(lambda: put_into_service(candidate))
    assert _planned(active_version) == [(last.pk, last.pk)]
    assert _planned(candidate) == [(images[0].pk, images[4].pk), (last.pk, last.pk)]


def test_what_is_released_before_any_version_serves_is_embedded_by_the_first(
    images: list[MedicalImage], active_version: ModelVersion, broker: Redis
) -> None:
    ModelVersion.objects.update(status="ready")
    with transaction.atomic():
        release(images[-1:], user=None)
        _on_a_connection_of_its_own(lambda: put_into_service(active_version))
    assert _planned(active_version)[-1] == (images[-1].pk, images[-1].pk)


@pytest.mark.parametrize("is_way_back", [False, True])
def test_images_that_come_while_the_version_is_switched_are_embedded_by_the_new_one(
    images: list[MedicalImage],
    active_version: ModelVersion,
    candidate: ModelVersion,
    broker: Redis,
    *,
    is_way_back: bool,
) -> None:
    """An import ends after the activation has looked for what is missing, and before others see that it is active."""
    last, version = images[-1], candidate
    if is_way_back:
        put_into_service(candidate)
        version = active_version
        IndexJob.objects.all().delete()
    shown: list[MedicalImage] = []

    def show_one(execute: Callable, sql: str, *rest: object) -> object:
        if sql.startswith('INSERT INTO "retrieval_indexjob"') and not shown:
            shown.append(last)
            same = MedicalImage.objects.filter(pk=last.pk)
            _on_a_connection_of_its_own(lambda: same.update(standing=MedicalImage.Standing.SHOWN))
        return execute(sql, *rest)

    with connection.execute_wrapper(show_one):
        if is_way_back:
            go_back(agreed=(str(candidate.number), str(active_version.number)))
        else:
            put_into_service(candidate)
    assert _planned(version) == [(images[0].pk, images[4].pk), (last.pk, last.pk)]
