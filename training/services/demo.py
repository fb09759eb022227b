"""The first run of a fresh installation, so that a newcomer sees a training without waiting for one of their own."""

from collections.abc import Callable

from django.conf import settings

from retrieval.models import Dataset
from retrieval.services.demo import SYNTHETIC
from training.models import TrainingRun
from training.services.starting import RunRefused, start_run

# The synthetic archive is small and easy. Fewer epochs than a real run: it should be over within minutes.
RECIPE = {"epochs": 6, "batch_size": 16, "augmentation": "light"}


def start_demo_run(*, say: Callable[[str], None]) -> None:
    """Queue a training on the synthetic archive, once; the trainer works on it in the background."""
    if not settings.DEMO_TRAINING or TrainingRun.objects.exists():
        return
    dataset = Dataset.objects.filter(name=SYNTHETIC).first()
    if dataset is None:
        return
    recipe = RECIPE | {"architecture": settings.INITIAL_ARCHITECTURE, "frozen_blocks": 0}
    try:
        run = start_run(datasets=[dataset], recipe=recipe, weights="none")
    except RunRefused as error:
        say(f"No training on the demo archive: {error}")
        return
    say(f"Training run {run.pk} on the demo archive begins in the background: see /training/")
