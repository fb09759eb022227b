"""A check finds what was planted and nothing else, stores it whole or not at all, and knows when it is out of date."""

import pytest
from django.contrib.auth.models import User
from redis import Redis

from retrieval.models import (
    Dataset,
    DatasetDeletion,
    Embedding,
    JobStatus,
    MedicalImage,
    ModelVersion,
    QualityCheck,
    QualityFinding,
)
from retrieval.services import jobs, quality
from retrieval.services.curation import exclude, relabel
from retrieval.services.deleting import DeletionRefused, request_deletion
from retrieval.services.quality import CheckRefused, check_quality, news_since, request_quality_check
from tests.quality_rows import Planted, add_image, between, checked, drawn_vector, new_version, plant

pytestmark = pytest.mark.django_db
Kind = QualityFinding.Kind


@pytest.fixture
def planted(db: None) -> Planted:
    return plant()


def found(check: QualityCheck, kind: Kind) -> list[tuple[MedicalImage, MedicalImage]]:
    return [(each.image, each.other) for each in check.findings.filter(kind=kind)]


def test_what_was_planted_is_found_and_the_well_behaved_are_left_alone(planted: Planted) -> None:
    check = checked(planted.dataset)
    assert (check.done, check.total, check.images, check.compared) == (54, 54, 54, 54)
    assert check.model_version == planted.version
    assert found(check, Kind.EXACT) == [tuple(planted.twins)]
    assert found(check, Kind.NEAR) == [tuple(planted.near)]
    [suspect] = check.findings.filter(kind=Kind.SUSPECT)
    assert (suspect.image, suspect.label, suspect.suggested) == (planted.mislabelled, "hand", "chest")
    assert suspect.value > 0.9
    assert suspect.other.label == "chest"
    [outlier] = check.findings.filter(kind=Kind.OUTLIER)
    assert (outlier.image, outlier.other.label) == (planted.stranger, "chest")
    assert not check.findings.filter(image__in=planted.behaved).exists()
    near = check.findings.get(kind=Kind.NEAR)
    assert 0.9 < near.value < 1


def test_copies_in_other_datasets_are_found_and_their_labels_say_nothing(planted: Planted) -> None:
    """The same pixels under another name, and the nearest neighbour of a well-behaved image with another label."""
    first, second = planted.behaved[:2]
    copy = add_image(planted.other, version=None, label="thorax", pixel_sha256=first.pixel_sha256)
    alike = between(drawn_vector(second.label, seed=1), drawn_vector("knee", seed=7), share=0.1)
    near = add_image(planted.other, version=planted.version, vector=alike, label="thorax")
    check = checked(planted.dataset)
    assert (first, copy) in found(check, Kind.EXACT)
    assert (second, near) in found(check, Kind.NEAR)
    assert check.compared == 55
    assert [image for image, _ in found(check, Kind.SUSPECT)] == [planted.mislabelled]
    # Seen from the other dataset it is its own image that comes first.
    assert found(checked(planted.other), Kind.EXACT) == [(copy, first)]


def test_slices_of_one_series_are_expected_to_be_alike(planted: Planted) -> None:
    MedicalImage.objects.filter(pk__in=[each.pk for each in (*planted.twins, *planted.near)]).update(
        series_instance_uid="1.2.3"
    )
    check = checked(planted.dataset)
    assert found(check, Kind.EXACT) == found(check, Kind.NEAR) == []
    # The same series in another dataset is a copy all the same.
    copy = add_image(
        planted.other, version=None, pixel_sha256=planted.twins[0].pixel_sha256, series_instance_uid="1.2.3"
    )
    assert found(checked(planted.dataset), Kind.EXACT) == [(planted.twins[0], copy)]


def test_frames_of_a_file_without_a_series_belong_together(planted: Planted) -> None:
    one, other = planted.twins
    MedicalImage.objects.filter(pk=other.pk).update(original=one.original, frame_number=2)
    assert found(checked(planted.dataset), Kind.EXACT) == []


def test_what_is_not_shown_takes_no_part(planted: Planted, person: object) -> None:
    exclude([planted.twins[1], planted.near[1]], user=None)
    check = checked(planted.dataset)
    assert found(check, Kind.EXACT) == found(check, Kind.NEAR) == []
    assert (check.images, check.total) == (52, 52)


def test_without_an_active_version_exact_duplicates_are_found_all_the_same(planted: Planted) -> None:
    ModelVersion.objects.update(status="ready")
    check = checked(planted.dataset)
    assert set(check.findings.values_list("kind", flat=True)) == {Kind.EXACT}
    assert (check.model_version, check.total, check.images) == (None, None, 54)


@pytest.mark.parametrize("images", [0, 1])
def test_a_dataset_of_next_to_nothing(images: int) -> None:
    dataset, version = Dataset.objects.create(name="small"), new_version()
    for number in range(images):
        add_image(dataset, version=version, vector=drawn_vector("hand", seed=number), label="hand")
    check = checked(dataset)
    assert (check.total, check.findings.count()) == (images, 0)


def test_a_second_check_replaces_the_findings_of_the_first(planted: Planted) -> None:
    first, second = checked(planted.dataset), checked(planted.dataset)
    assert first.findings.count() == 0
    assert second.findings.count() == 4


def test_findings_are_bounded(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "MOST_FINDINGS", 3)
    for _ in range(5):
        add_image(planted.other, version=None, pixel_sha256="e" * 64)
    check = checked(planted.dataset)
    assert list(check.findings.filter(kind=Kind.EXACT).values_list("rank", flat=True)) == [1, 2, 3]
    assert {image for image, _ in found(check, Kind.EXACT)} == {planted.twins[0]}


def test_a_black_slice_in_every_series_does_not_push_copies_out(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MOST_FINDINGS", 3)
    for number in range(5):
        add_image(planted.dataset, version=None, pixel_sha256="0" * 64, series_instance_uid=f"1.2.{number}")
    pairs = found(checked(planted.dataset), Kind.EXACT)
    assert pairs[0] == tuple(planted.twins)
    assert [other.pixel_sha256 for _, other in pairs[1:]] == ["0" * 64] * 2


def test_a_cancelled_check_ends_and_leaves_the_findings_before_it(planted: Planted) -> None:
    before = checked(planted.dataset)
    check = jobs.claim(QualityCheck, QualityCheck.objects.create(dataset=planted.dataset).pk)
    assert check is not None
    with jobs.working_on(check):
        jobs.cancel(check)
        check_quality(check)
    check.refresh_from_db()
    assert check.status == JobStatus.CANCELLED
    assert (before.findings.count(), check.findings.count()) == (4, 0)


def test_who_has_lost_the_claim_stores_nothing(planted: Planted) -> None:
    """Another worker has taken the check up meanwhile: it is done again, and once."""
    check = jobs.claim(QualityCheck, QualityCheck.objects.create(dataset=planted.dataset).pk)
    assert check is not None
    QualityCheck.objects.update(attempts=2)
    with pytest.raises(jobs.ClaimLost):
        check_quality(check)
    assert not QualityFinding.objects.exists()
    QualityCheck.objects.update(status=JobStatus.QUEUED)
    assert checked(planted.dataset).findings.count() == 4


def test_a_version_that_is_retired_meanwhile_fails_the_check(planted: Planted) -> None:
    check = jobs.claim(QualityCheck, QualityCheck.objects.create(dataset=planted.dataset).pk)
    assert check is not None

    def retire(done: int, total: int | None) -> None:
        ModelVersion.objects.update(status="retired", weights="")

    with jobs.working_on(check):
        check_quality(check, progress=retire)
    check.refresh_from_db()
    assert check.status == JobStatus.FAILED
    assert "is retired" in check.reason
    assert not check.findings.exists()


def test_an_image_that_is_deleted_meanwhile_is_in_no_finding(planted: Planted) -> None:
    check = jobs.claim(QualityCheck, QualityCheck.objects.create(dataset=planted.dataset).pk)
    assert check is not None

    def delete(done: int, total: int | None) -> None:
        planted.near[0].delete()

    with jobs.working_on(check):
        check_quality(check, progress=delete)
    check.refresh_from_db()
    assert check.status == JobStatus.DONE
    assert set(check.findings.values_list("kind", flat=True)) == {Kind.EXACT, Kind.SUSPECT, Kind.OUTLIER}


def test_one_check_of_a_dataset_at_a_time(planted: Planted, person: object, broker: Redis) -> None:
    user = User.objects.create_user("curator")
    check = request_quality_check(dataset=planted.dataset, user=user)
    assert request_quality_check(dataset=planted.dataset, user=user) == check
    assert check.asked_by == user
    assert request_quality_check(dataset=planted.other, user=user) != check


def test_a_dataset_is_either_checked_or_deleted(planted: Planted, broker: Redis) -> None:
    user = User.objects.create_user("curator")
    check = request_quality_check(dataset=planted.dataset, user=user)
    with pytest.raises(DeletionRefused, match=f"Quality check {check.pk} works with this dataset"):
        request_deletion(dataset=planted.dataset, user=user)
    DatasetDeletion.objects.create(dataset=planted.other, name="another")
    with pytest.raises(CheckRefused, match="being deleted"):
        request_quality_check(dataset=planted.other, user=user)


def test_a_check_is_out_of_date_once_something_has_changed(planted: Planted) -> None:
    check = checked(planted.dataset)
    assert not news_since(check)
    relabel([planted.behaved[0]], label="other", user=None)
    exclude([planted.behaved[1]], user=None)
    add_image(planted.dataset, version=None)
    news = news_since(check)
    assert (news.changed, news.came, news.embedded, news.other_version) == (2, 1, 0, None)
    ModelVersion.objects.update(status="ready")
    later = new_version(2)
    assert news_since(check).other_version == later


def test_images_that_were_embedded_since_are_told(planted: Planted) -> None:
    image = add_image(planted.dataset, version=None)
    check = checked(planted.dataset)
    assert (check.images, check.total) == (55, 54)
    assert not news_since(check)
    Embedding.objects.create(image=image, model_version=planted.version, vector=drawn_vector("hand", seed=5))
    assert news_since(check).embedded == 1


def test_findings_that_were_dealt_with_are_told_apart(planted: Planted) -> None:
    check = checked(planted.dataset)
    assert check.findings.undecided().count() == 4
    relabel([planted.mislabelled], label="chest", user=None)
    exclude([planted.stranger, planted.near[1]], user=None)
    # Whatever their labels are, two images stay duplicates.
    relabel(planted.twins, label="knee", user=None)
    assert set(check.findings.undecided().values_list("kind", flat=True)) == {Kind.EXACT}
