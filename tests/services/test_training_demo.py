"""The run that a fresh installation begins by itself: once, on the synthetic archive, and only if it is wanted."""

from pathlib import Path

import pytest
from pytest_django import Settings

from retrieval.models import Dataset, JobStatus, ModelVersion
from retrieval.services.demo import SYNTHETIC
from tests.services.conftest import ImportFolder
from training.models import TrainingRun
from training.services.demo import start_demo_run


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def synthetic(import_folder: ImportFolder, striped_folder: Path) -> Dataset:
    import_folder(striped_folder, dataset=SYNTHETIC)
    return Dataset.objects.get(name=SYNTHETIC)


def test_it_begins_once(synthetic: Dataset, said: list[str]) -> None:
    start_demo_run(say=said.append)
    run = TrainingRun.objects.get()
    assert (run.status, list(run.datasets.all()), run.weights) == (JobStatus.QUEUED, [synthetic], "none")
    assert run.recipe["architecture"] == "narrow"
    start_demo_run(say=said.append)
    assert len(said) == TrainingRun.objects.count() == 1


def test_with_imagenet_weights_it_is_the_network_that_searches(
    synthetic: Dataset, active_version: ModelVersion, said: list[str]
) -> None:
    ModelVersion.objects.update(weights_source="imagenet", architecture="vgg16")
    start_demo_run(say=said.append)
    run = TrainingRun.objects.get()
    assert (run.weights, run.recipe["architecture"], run.recipe["frozen_blocks"]) == ("imagenet", "vgg16", 3)


def test_it_does_not_begin_where_it_is_not_wanted(synthetic: Dataset, said: list[str], settings: Settings) -> None:
    settings.DEMO_TRAINING = False
    start_demo_run(say=said.append)
    assert (TrainingRun.objects.count(), said) == (0, [])


def test_without_a_synthetic_archive_there_is_nothing_to_begin(db: None, said: list[str]) -> None:
    start_demo_run(say=said.append)
    assert (TrainingRun.objects.count(), said) == (0, [])
