"""The first run of a fresh installation, so that a newcomer sees a training without waiting for one of their own."""

from collections.abc import Callable

from django.conf import settings

from retrieval.models import Dataset, ModelVersion
from retrieval.services.demo import SYNTHETIC
from training.models import TrainingRun
from training.services.starting import RunRefused, start_run


def start_demo_run(*, say: Callable[[str], None]) -> None:
    """Queue a training on the synthetic archive, once; the trainer works on it in the background."""
    if not settings.DEMO_TRAINING or TrainingRun.objects.exists():
        return
    dataset = Dataset.objects.filter(name=SYNTHETIC).first()
    if dataset is None:
        return
    recipe, weights = _affordable()
    try:
        run = start_run(datasets=[dataset], recipe=recipe, weights=weights)
    except RunRefused as error:
        say(f"No training on the demo archive: {error}")
        return
    say(f"Training run {run.pk} on the demo archive begins in the background: see /training/")


def _affordable() -> tuple[dict[str, object], str]:
    """Recipe and weights that come to a good end within minutes on any machine.

    With ImageNet's weights the large network has only its upper layers to learn; without, only a narrow one gets far.
    """
    first = ModelVersion.objects.active()
    if first and first.weights_source == ModelVersion.Weights.IMAGENET:
        return {"architecture": first.architecture, "epochs": 6}, "imagenet"
    return {"architecture": "narrow", "epochs": 25, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.2}, "none"
