"""Model versions: made with their weights, active one at a time, loaded once a process."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from django.db import IntegrityError, transaction

from retrieval.models import MedicalImage, ModelVersion
from retrieval.network.errors import WeightsRefused
from retrieval.services.jobs import JobFailed
from retrieval.services.versions import (
    UNTRAINED,
    NoActiveVersion,
    activate_model_version,
    active_version,
    create_model_version,
    load_embedder,
)
from tests.pictures import drawn_pixels
from tests.services.conftest import ImportFolder


@pytest.fixture(autouse=True)
def nothing_loaded(db: None) -> None:
    load_embedder.cache_clear()


def _made(seed: int = 0) -> ModelVersion:
    return create_model_version(architecture="narrow", weights="none", seed=seed)


def test_a_version_is_its_file() -> None:
    version = _made()
    assert (version.number, version.status, version.is_untrained) == (1, "ready", True)
    assert version.weights_report == UNTRAINED
    with version.weights.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == version.weights_sha256


def test_numbers_are_not_used_twice_while_the_last_one_lives() -> None:
    first, second = _made(), _made(seed=1)
    first.delete()
    assert (second.number, _made(seed=2).number) == (2, 3)


def test_the_weights_of_a_version_can_begin_another(import_folder: ImportFolder, picture_folder: Path) -> None:
    import_folder(picture_folder)
    first = _made()
    second = create_model_version(architecture="narrow", weights=first.weights.path, seed=5)
    assert second.weights_source == "file"
    previews = [Path(image.preview.path) for image in MedicalImage.objects.all()]
    features = [load_embedder(each.pk).normalised_features(previews) for each in (first, second)]
    assert np.allclose(*features, atol=1e-5)


def test_a_file_that_holds_no_weights_makes_no_version(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsRefused):
        create_model_version(architecture="narrow", weights=str(tmp_path / "weights.safetensors"))
    assert not ModelVersion.objects.exists()


def test_one_version_is_active() -> None:
    first, second = _made(), _made(seed=1)
    with pytest.raises(NoActiveVersion):
        active_version()
    assert activate_model_version(first) is None
    assert active_version() == first
    assert activate_model_version(second) == first
    assert active_version() == second
    assert activate_model_version(first) == second
    assert list(ModelVersion.objects.order_by("number").values_list("status", flat=True)) == ["active", "ready"]


def test_a_version_that_was_deleted_does_not_take_the_place_of_the_active_one() -> None:
    first, second = _made(), _made(seed=1)
    activate_model_version(first)
    ModelVersion.objects.filter(pk=second.pk).delete()
    with pytest.raises(ModelVersion.DoesNotExist):
        activate_model_version(second)
    assert active_version() == first


def test_the_database_refuses_a_second_active_version() -> None:
    activate_model_version(_made())
    second = _made(seed=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelVersion.objects.filter(pk=second.pk).update(status="active")


def test_a_version_is_loaded_once_and_stays_itself() -> None:
    first, second = _made(), _made(seed=1)
    assert load_embedder(first.pk) is load_embedder(first.pk)
    picture = np.repeat(drawn_pixels(1, width=224, height=224)[None, ..., None], 3, axis=3)
    vectors = [load_embedder(each.pk).embed(picture) for each in (first, second)]
    assert not np.allclose(*vectors, atol=0.01)


def test_missing_weights_are_said_in_words() -> None:
    version = _made()
    Path(version.weights.path).unlink()
    with pytest.raises(JobFailed, match="weights file of model version 1 is missing or damaged"):
        load_embedder(version.pk)
