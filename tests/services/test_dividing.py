"""Which images of a run are kept together, which take no part, and what is said where that cannot be."""

from collections.abc import Callable

import pytest

from retrieval.models import MedicalImage
from retrieval.services import jobs
from training.models import SplitImage, TrainingRun
from training.services.images import images_of
from training.services.starting import RunRefused

Start = Callable[..., TrainingRun]
BLACK = "b" * 64


def all_images() -> list[MedicalImage]:
    return list(MedicalImage.objects.order_by("pk"))


def give(images: list[MedicalImage], **values: object) -> None:
    MedicalImage.objects.filter(pk__in=[image.pk for image in images]).update(**values)


def ten_patients() -> list[list[MedicalImage]]:
    """Four images of each, two of each class."""
    images = all_images()
    patients = [[*images[2 * number :: 20], *images[2 * number + 1 :: 20]] for number in range(10)]
    for number, own in enumerate(patients):
        give(own, patient_key=f"patient {number}")
    return patients


def divided(run: TrainingRun) -> dict[int, str]:
    """{image: part}"""
    images_of(run, on_progress=jobs.silent)
    return dict(SplitImage.objects.filter(run=run).values_list("image_id", "part"))


def parts_of(images: list[MedicalImage], *, part_of: dict[int, str]) -> set[str]:
    return {part_of[image.pk] for image in images if image.pk in part_of}


def test_a_black_slice_of_every_patient_ties_nobody_together(start: Start) -> None:
    patients = ten_patients()
    give([own[0] for own in patients], pixel_sha256=BLACK)
    # Nor do copies of which nobody knows whose they are.
    give(patients[0][:1], patient_key="")
    run = start()
    part_of = divided(run)
    assert {len(parts_of(own, part_of=part_of)) for own in patients[1:]} == {1}
    sizes = [list(part_of.values()).count(part) for part in ("training", "validation", "test")]
    assert sum(sizes) == 31
    assert sizes[0] > sizes[2] > 0 < sizes[1]
    assert run.left_out == {"unlabelled": 0, "unreadable": 0, "duplicate": 9}
    assert patients[0][0].pk in part_of


def test_the_same_picture_of_two_patients_is_in_one_part_only(start: Start) -> None:
    patients = ten_patients()
    for one, other in zip(patients[:5], patients[5:], strict=True):
        give([one[1], other[1]], pixel_sha256=one[1].pixel_sha256)
    run = start()
    part_of = divided(run)
    assert [own[1].pk in part_of for own in patients] == [True] * 5 + [False] * 5
    assert run.left_out["duplicate"] == 5


def test_copies_of_one_patient_or_of_nobody_knows_whom_stay_together(start: Start) -> None:
    images = all_images()
    pairs = list(zip(images[:20], images[20:], strict=True))
    for one, other in pairs:
        give([one, other], pixel_sha256=one.pixel_sha256)
    give([each for pair in pairs[:4] for each in pair], patient_key="patient 1")
    give([pair[0] for pair in pairs[4:8]], patient_key="patient 2")
    run = start()
    part_of = divided(run)
    assert len(part_of) == 40
    assert {len(parts_of(list(pair), part_of=part_of)) for pair in pairs} == {1}
    assert len(parts_of([each for pair in pairs[4:8] for each in pair], part_of=part_of)) == 1


@pytest.mark.parametrize("key", ["study_instance_uid", "series_instance_uid"])
def test_slices_of_a_study_or_series_stay_together(start: Start, key: str) -> None:
    images = all_images()
    together = [images[number::10] for number in range(10)]
    for number, own in enumerate(together):
        give(own, **{key: f"1.2.{number}"})
    part_of = divided(start())
    assert {len(parts_of(own, part_of=part_of)) for own in together} == {1}


@pytest.mark.parametrize("key", ["study_instance_uid", "series_instance_uid"])
def test_a_class_of_two_examinations_is_refused_before_anything_is_read(start: Start, key: str) -> None:
    across = [image for image in all_images() if image.label == "across"]
    give(across[:12], **{key: "1.2.1"})
    give(across[12:], **{key: "1.2.2"})
    with pytest.raises(RunRefused, match="class “across”"):
        start()


def test_patients_that_are_linked_are_named_as_the_cause_before_anything_is_read(start: Start) -> None:
    ten_patients()
    give(all_images(), study_instance_uid="1.2.3")
    run, read = start(), []
    with pytest.raises(jobs.JobFailed, match=r"images of only 1 patient; .* Images of one study, series or file"):
        images_of(run, on_progress=lambda done, _: read.append(done))
    assert read == []


def test_links_are_not_blamed_for_what_they_did_not_do(start: Start) -> None:
    patients = ten_patients()
    run = start()
    give([image for own in patients[2:] for image in own if image.label == "across"], label="upright")
    with pytest.raises(jobs.JobFailed, match="images of only 2 patients") as raised:
        images_of(run, on_progress=jobs.silent)
    assert "study" not in str(raised.value)
