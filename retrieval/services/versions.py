"""Making and activating model versions, and the one loaded network of a worker process.

torch is imported inside the functions: the web process imports this module's callers and must stay small.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from retrieval.models import MedicalImage, ModelVersion
from retrieval.network.errors import WeightsRefused
from retrieval.services.jobs import JobFailed
from retrieval.services.naming import keyed_hash
from retrieval.storage import work_folder

if TYPE_CHECKING:
    import numpy as np

    from retrieval.network.embedder import Embedder

# Images from which the projection of an untrained or frozen network is made.
PROJECTION_SAMPLE = 256
UNTRAINED = "Untrained: all weights are random. Neighbours share brightness and texture, not anatomy."
# The published network's classes. A head that was never trained answers nothing, but the network has one.
HEAD_CLASSES = 18


class NoActiveVersion(Exception):
    """Nothing can be searched or indexed before a model version is active."""

    def __init__(self) -> None:
        super().__init__(
            "No model version is active. Activate one with `manage.py activate N`, or make one with "
            "`manage.py create_model_version`."
        )


def active_version() -> ModelVersion:
    version = ModelVersion.objects.active()
    if version is None:
        raise NoActiveVersion
    return version


@lru_cache(maxsize=2)
def load_embedder(version_pk: int) -> Embedder:
    """The network of a version, loaded once a process: two, since versions change while searches go on.

    Raises JobFailed where the weights cannot be loaded.
    """
    from retrieval.network.embedder import Embedder

    version = ModelVersion.objects.get(pk=version_pk)
    try:
        return Embedder.load(Path(version.weights.path))
    except (WeightsRefused, OSError) as error:
        raise JobFailed(
            f"The weights file of model version {version.number} is missing or damaged: restore it, or activate "
            "another version."
        ) from error


def create_model_version(
    *, architecture: str, weights: str, caffe_preprocessing: bool = False, seed: int = 0
) -> ModelVersion:
    """Build a network, fit its projection on a sample of the archive, save both, and add the row (status ready).

    `weights` is "imagenet", "none" or the path of a file; `caffe_preprocessing` says that a file of foreign weights
    expects BGR in 0..255 (files of our own say it themselves). Raises WeightsUnavailable or WeightsRefused.
    """
    from retrieval.network.embedder import Embedder
    from retrieval.network.preprocessing import CAFFE, TORCHVISION, preprocessing_for
    from retrieval.network.projection import fit_projection
    from retrieval.network.vgg import build_network
    from retrieval.network.weights import initial_weights, save_version

    network = build_network(architecture, classes=HEAD_CLASSES, seed=seed)
    source: Literal["imagenet", "none"] | Path
    source = cast(Literal["imagenet", "none"], weights) if weights in ("imagenet", "none") else Path(weights)
    report = initial_weights(network, source=source)
    preprocessing = preprocessing_for(source, otherwise=CAFFE if caffe_preprocessing else TORCHVISION)
    unprojected = Embedder(network, preprocessing=preprocessing, projection=None)
    projection = fit_projection(_sample_features(unprojected), seed=seed)
    with work_folder() as folder:
        path = folder / "version.safetensors"
        digest = save_version(path, network=network, preprocessing=preprocessing, projection=projection, classes=[])
        return _store_version(
            path,
            digest=digest,
            architecture=architecture,
            weights_source=weights if isinstance(source, str) else ModelVersion.Weights.FILE,
            weights_report=UNTRAINED if source == "none" else report.summary(),
        )


def _sample_features(embedder: Embedder) -> np.ndarray:
    """L2-normalised features, float32 (n, width), of up to PROJECTION_SAMPLE images spread over the archive."""
    images = MedicalImage.objects.order_by("?")[:PROJECTION_SAMPLE]
    return embedder.normalised_features([Path(image.preview.path) for image in images])


def _store_version(
    path: Path, *, digest: str, architecture: str, weights_source: str, weights_report: str
) -> ModelVersion:
    if twin := ModelVersion.objects.filter(weights_sha256=digest).first():
        raise WeightsRefused(f"Model version {twin.number} has exactly these weights: use that one.")
    name = f"weights/{keyed_hash('weights', digest)[:40]}.safetensors"
    with path.open("rb") as file:
        default_storage.save(name, File(file))
    with transaction.atomic():
        return ModelVersion.objects.create(
            number=ModelVersion.objects.next_number(),
            architecture=architecture,
            weights_source=weights_source,
            weights_report=weights_report,
            weights=name,
            weights_sha256=digest,
        )


@transaction.atomic
def activate_model_version(version: ModelVersion) -> ModelVersion | None:
    """Switch to `version` in one step and return the one before. All rows are locked, in order: off, then on.

    Raises ModelVersion.DoesNotExist when it was deleted meanwhile: the one before stays active then.
    """
    rows = {row.pk: row for row in ModelVersion.objects.select_for_update().order_by("pk")}
    if version.pk not in rows:
        raise ModelVersion.DoesNotExist(f"There is no model version {version.number}.")
    ModelVersion.objects.filter(status="active").update(status=ModelVersion.Status.READY)
    ModelVersion.objects.filter(pk=version.pk).update(status="active", activated_at=timezone.now())
    return next((row for row in rows.values() if row.status == ModelVersion.Status.ACTIVE), None)
