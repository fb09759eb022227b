"""Model versions: made with their weights, stored whole or not at all, loaded once a process."""

import hashlib
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from django.db import DataError, connection
from pytest_django import Settings

from retrieval.models import MedicalImage, ModelVersion
from retrieval.network.errors import WeightsRefused
from retrieval.services import versions
from retrieval.services.checking import check_archive
from retrieval.services.jobs import JobFailed
from retrieval.services.switching import retire_model_version
from retrieval.services.versions import LOW_DISK, UNTRAINED, create_model_version, load_embedder, store_version
from tests.pictures import drawn_pixels
from tests.services.conftest import ImportFolder

pytestmark = pytest.mark.django_db


def _made(seed: int = 0) -> ModelVersion:
    return create_model_version(architecture="narrow", weights="none", seed=seed)


def _store(path: Path, *, source: str = "trained", architecture: str = "narrow") -> ModelVersion:
    return store_version(
        path,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        architecture=architecture,
        weights_source=source,
        weights_report="Trained by a test.",
        classes=["chest", "hand"],
    )


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What a trainer leaves; nothing looks into it before it is loaded."""
    (tmp_path / "trained.safetensors").write_bytes(b"weights" * 1000)
    return tmp_path / "trained.safetensors"


def _weights(media: Path) -> list[Path]:
    return list((media / "weights").iterdir())


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


def test_the_seed_decides_the_version(
    import_folder: ImportFolder, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its projection too, which is fitted on some of the images."""
    monkeypatch.setattr(versions, "PROJECTION_SAMPLE", 3)
    import_folder(picture_folder)
    _made()
    with pytest.raises(WeightsRefused, match="exactly these weights"):
        _made()


def test_a_file_that_holds_no_weights_makes_no_version(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsRefused):
        create_model_version(architecture="narrow", weights=str(tmp_path / "weights.safetensors"))
    assert not ModelVersion.objects.exists()


def test_what_was_trained_is_stored_once_however_often_the_trainer_repeats_it(trained: Path, media: Path) -> None:
    version = _store(trained)
    assert (version.number, version.status, version.weights_source) == (1, "ready", "trained")
    assert (version.classes, version.metrics) == (["chest", "hand"], {})
    assert [path.read_bytes() for path in _weights(media)] == [trained.read_bytes()]
    assert _store(trained) == version
    assert ModelVersion.objects.count() == len(_weights(media)) == 1


def test_other_weights_that_are_a_version_already_are_refused(trained: Path, media: Path) -> None:
    _store(trained)
    with pytest.raises(WeightsRefused, match="Model version 1 has exactly these weights"):
        _store(trained, source="file")
    assert ModelVersion.objects.count() == len(_weights(media)) == 1


def test_a_retired_version_does_not_stand_in_the_way_of_its_weights(trained: Path, media: Path) -> None:
    first = _store(trained)
    name = first.weights.name
    retire_model_version(first)
    second = _store(trained)
    assert (second.number, second.status) == (2, "ready")
    # Its name is another one: the first file might be about to be deleted.
    assert [Path(second.weights.path)] == _weights(media)
    assert second.weights.name != name
    assert check_archive()["ok"] is True


def test_a_row_that_the_database_does_not_take_leaves_no_file(trained: Path, media: Path) -> None:
    with pytest.raises(DataError):
        _store(trained, architecture="x" * 21)
    assert not ModelVersion.objects.exists()
    assert _weights(media) == []


def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, trained: Path) -> None:
    trained.write_bytes(bytes(2**20))
    with pytest.raises(JobFailed) as refused:
        _store(trained)
    assert str(refused.value) == LOW_DISK
    assert not ModelVersion.objects.exists()
    assert _weights(small_disk) == []


def test_a_full_disk_while_the_weights_are_written_is_said(small_disk: Path, settings: Settings) -> None:
    settings.WORK_DIR = small_disk
    with pytest.raises(JobFailed) as refused:
        _made()
    assert str(refused.value) == LOW_DISK
    assert not ModelVersion.objects.exists()
    assert [path for path in small_disk.rglob("*") if path.is_file() and path.stat().st_size] == []


def test_a_file_that_waits_for_its_row_is_no_orphan(media: Path) -> None:
    (media / "weights").mkdir(parents=True)
    (media / "weights" / "new.safetensors").write_bytes(b"weights")
    assert check_archive()["orphan_files"] == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_versions_that_are_stored_at_the_same_time_get_numbers_of_their_own(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.safetensors" for index in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())
    threads = [Thread(target=_store_elsewhere, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ModelVersion.objects.values_list("number", flat=True)) == [1, 2, 3, 4]


def _store_elsewhere(path: Path) -> None:
    try:
        _store(path)
    finally:
        connection.close()


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
