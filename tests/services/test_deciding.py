"""Decisions on findings: those of one person are no trouble for what the site does meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection

from retrieval.models import Dataset, MedicalImage, QualityCheck, QualityFinding
from retrieval.services.deciding import Decision, decide
from tests.live_site import wait_until
from tests.quality_rows import add_image
from tests.services.conftest import somebody_waits


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_suggested_labels_lock_images_in_the_order_of_everybody(person: Callable[..., User]) -> None:
    """A search that stores its answer holds the first and waits for the second: neither must wait for ever."""
    user, dataset = person("staff"), Dataset.objects.create(name="one")
    first, second = (add_image(dataset, version=None, label="hand") for _ in range(2))
    check = QualityCheck.objects.create(dataset=dataset)
    # By label it would be the other way round.
    suspect = {"quality_check": check, "kind": QualityFinding.Kind.SUSPECT, "label": "hand", "value": 1}
    QualityFinding.objects.create(**suspect, rank=1, image=first, other=second, suggested="knee")
    QualityFinding.objects.create(**suspect, rank=2, image=second, other=first, suggested="chest")

    def relabel() -> Decision:
        try:
            ticked = [str(first.uuid), str(second.uuid)]
            return decide(dataset=dataset, action="suggested", ticked=ticked, label="", user=user)
        finally:
            connection.close()

    other = connection.copy()
    try:
        with ThreadPoolExecutor() as pool, other.cursor() as cursor:
            cursor.execute("BEGIN")
            lock = "SELECT 1 FROM retrieval_medicalimage WHERE id = %s FOR NO KEY UPDATE NOWAIT"
            cursor.execute(lock, [first.pk])
            decided = pool.submit(relabel)
            wait_until(somebody_waits, seconds=60, what="the decision waits for the first image")
            try:
                cursor.execute(lock, [second.pk])
            finally:
                cursor.execute("ROLLBACK")
            assert len(decided.result().changes) == 2
    finally:
        other.close()
    assert list(MedicalImage.objects.order_by("pk").values_list("label", flat=True)) == ["knee", "chest"]
