"""Which version answers: one at any time, switched and rolled back in one step, and only to weights that are whole."""

import pickle
import shutil
from pathlib import Path
from threading import Thread

import pytest
from django.db import IntegrityError, connection, transaction

from retrieval.models import ModelVersion
from retrieval.services.switching import (
    NothingToRollBackTo,
    SwitchedMeanwhile,
    activate_model_version,
    retire_model_version,
    roll_back,
    version_to_roll_back_to,
)
from retrieval.services.versions import NoActiveVersion, WeightsUnusable, active_version, create_model_version
from tests.live_site import wait_until

SENTENCE = "The weights file of model version 2 is {what}: restore it, or activate another version."
MISSING, OTHER = "missing or cannot be read", "damaged, or another file has taken its place"


def _made(seed: int = 0) -> ModelVersion:
    return create_model_version(architecture="narrow", weights="none", seed=seed)


@pytest.fixture
def versions(db: None) -> list[ModelVersion]:
    """Three, none of them active."""
    return [_made(seed) for seed in range(3)]


def test_one_version_is_active(versions: list[ModelVersion]) -> None:
    first, second, _ = versions
    with pytest.raises(NoActiveVersion):
        active_version()
    assert activate_model_version(first) is None
    assert active_version() == first
    assert activate_model_version(second) == first
    assert active_version() == second
    assert activate_model_version(first) == second
    statuses = ModelVersion.objects.order_by("number").values_list("status", flat=True)
    assert list(statuses) == ["active", "ready", "ready"]


def test_a_version_that_was_deleted_does_not_take_the_place_of_the_active_one(versions: list[ModelVersion]) -> None:
    first, second, _ = versions
    activate_model_version(first)
    ModelVersion.objects.filter(pk=second.pk).delete()
    with pytest.raises(ModelVersion.DoesNotExist):
        activate_model_version(second)
    assert active_version() == first


def test_the_database_refuses_a_second_active_version(versions: list[ModelVersion]) -> None:
    activate_model_version(versions[0])
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelVersion.objects.filter(pk=versions[1].pk).update(status="active")


def _remove(path: Path, other: Path) -> None:
    path.unlink()


def _shorten(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _pickle(path: Path, other: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [0.5]}))


def _take_another(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


@pytest.mark.parametrize(
    ("harm", "what"), [(_remove, MISSING), (_shorten, OTHER), (_pickle, OTHER), (_take_another, OTHER)]
)
def test_a_version_whose_file_is_not_what_was_stored_is_not_put_into_service(
    versions: list[ModelVersion], harm: object, what: str
) -> None:
    first, second, third = versions
    activate_model_version(second)
    activate_model_version(first)
    harm(Path(second.weights.path), Path(third.weights.path))  # type: ignore[operator]
    for switch in (lambda: activate_model_version(second), roll_back):
        with pytest.raises(WeightsUnusable) as refused:
            switch()
        assert str(refused.value) == SENTENCE.format(what=what)
        assert active_version() == first


def test_rolling_back_goes_to_the_version_that_was_active_before(versions: list[ModelVersion]) -> None:
    first, second, third = versions
    with pytest.raises(NothingToRollBackTo, match="there is nothing to roll back to"):
        roll_back()
    activate_model_version(first)
    # The others were never active.
    assert version_to_roll_back_to() is None
    activate_model_version(second)
    activate_model_version(third)
    assert version_to_roll_back_to() == second
    back = roll_back()
    assert (back, back.status, active_version()) == (second, "active", second)
    assert version_to_roll_back_to() == third


def test_nothing_is_rolled_back_to_a_retired_version(versions: list[ModelVersion]) -> None:
    first, second, third = versions
    for version in versions:
        activate_model_version(version)
    retire_model_version(second)
    assert roll_back() == first
    retire_model_version(third)
    with pytest.raises(NothingToRollBackTo):
        roll_back()
    assert active_version() == first


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_who_roll_back_at_once_roll_back_once() -> None:
    first, second, third = (_made(seed) for seed in range(3))
    for version in (first, second, third):
        activate_model_version(version)
    refusals: list[Exception] = []
    other = Thread(target=_roll_back_elsewhere, args=(refusals,))
    with transaction.atomic():
        roll_back()
        other.start()
        wait_until(_is_waited_for, seconds=10, what="the other one waits for its turn")
    other.join()
    assert [type(refusal) for refusal in refusals] == [SwitchedMeanwhile]
    assert active_version() == second


def _roll_back_elsewhere(refusals: list[Exception]) -> None:
    try:
        roll_back()
    except SwitchedMeanwhile as refusal:
        refusals.append(refusal)
    finally:
        connection.close()


def _is_waited_for() -> bool:
    """Whether another session waits for what this one holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0
