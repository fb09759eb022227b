"""What the pages read of judgements."""

from retrieval.models import Dataset, ModelVersion
from tests.training_rows import make_evaluation, make_run, make_version
from training.results import comparable


def test_judgements_that_left_out_other_test_images_are_not_compared(
    active_version: ModelVersion, dataset: Dataset
) -> None:
    """As many, but not the same: each version sees nothing in images of its own."""
    run = make_run(dataset)
    version = make_version(number=7, run=run)
    ours, theirs = (make_evaluation(run, version=each) for each in (version, active_version))
    first, last = ours.images.earliest("image_id").image, ours.images.latest("image_id").image
    ours.images.filter(image=first).delete()
    theirs.images.filter(image=last).delete()
    assert list(comparable(version, active_version)) == []
    theirs.images.filter(image=first).delete()
    ours.images.filter(image=last).delete()
    assert list(comparable(version, active_version)) == [(ours, theirs)]
