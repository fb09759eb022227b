"""Making and storing model versions, and the loaded networks of a worker process.

torch is imported inside the functions: the web process imports this module's callers and must stay small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, transaction

from retrieval.models import MedicalImage, ModelVersion
from retrieval.network.errors import WeightsRefused
from retrieval.services.jobs import JobFailed
from retrieval.services.naming import keyed_hash
from retrieval.services.sampling import sample
from retrieval.storage import NO_SPACE, work_folder

if TYPE_CHECKING:
    import numpy as np

    from retrieval.network.embedder import Embedder

# Images from which the projection of an untrained or frozen network is made.
PROJECTION_SAMPLE = 256
UNTRAINED = "Untrained: all weights are random. Neighbours share brightness and texture, not anatomy."
# The published network's classes. A head that was never trained answers nothing, but the network has one.
HEAD_CLASSES = 18
LOW_DISK = (
    "The disk is full: the weights of the new model version could not be stored, and nothing of it was kept. Free "
    "some space, then try again."
)


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


class VersionRefused(JobFailed):
    """What is asked of a model version cannot be done; the message says why, in words for people."""


class VersionRetired(VersionRefused):
    def __init__(self, version: ModelVersion) -> None:
        super().__init__(
            f"Model version {version.number} is retired: its weights and its embeddings are gone. Choose another "
            "version."
        )


class WeightsUnusable(VersionRefused):
    def __init__(self, version: ModelVersion, *, what: str) -> None:
        super().__init__(
            f"The weights file of model version {version.number} is {what}: restore it, or activate another version."
        )


def refuse_retired(version: ModelVersion) -> None:
    """Raise VersionRetired when it is that by now: `version` itself may have been read long ago."""
    if ModelVersion.objects.retired().filter(pk=version.pk).exists():
        raise VersionRetired(version)


def load_embedder(version_pk: int) -> Embedder:
    """The network of a version, loaded once a process.

    Raises JobFailed where the weights cannot be loaded, VersionRetired for one that was retired, loaded or not.
    """
    version = ModelVersion.objects.get(pk=version_pk)
    if version.status == ModelVersion.Status.RETIRED:
        raise VersionRetired(version)
    try:
        return _embedder_in(version.weights.path)
    except (WeightsRefused, OSError) as error:
        # Its file may have gone since the row was read.
        refuse_retired(version)
        raise WeightsUnusable(version, what="missing or damaged") from error


@lru_cache(maxsize=2)
def _embedder_in(path: str) -> Embedder:
    """Two, since versions change while searches go on."""
    from retrieval.network.embedder import Embedder

    return Embedder.load(Path(path))


def create_model_version(
    *, architecture: str, weights: str, caffe_preprocessing: bool = False, seed: int = 0
) -> ModelVersion:
    """Build a network, fit its projection on a sample of the archive, save both, and add the row (status ready).

    `weights` is "imagenet", "none" or the path of a file; `caffe_preprocessing` says that a file of foreign weights
    expects BGR in 0..255 (files of our own say it themselves). Raises WeightsUnavailable, WeightsRefused or JobFailed.
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
    projection = fit_projection(_sample_features(unprojected), dense=unprojected.dense_width, seed=seed)
    with work_folder() as folder:
        path = folder / "version.safetensors"
        with _full_disk_said():
            digest = save_version(path, network=network, preprocessing=preprocessing, projection=projection, classes=[])
        return store_version(
            path,
            digest=digest,
            architecture=architecture,
            weights_source=weights if isinstance(source, str) else ModelVersion.Weights.FILE,
            weights_report=UNTRAINED if source == "none" else report.summary(),
        )


def _sample_features(embedder: Embedder) -> np.ndarray:
    """L2-normalised features, float32 (n, width), of up to PROJECTION_SAMPLE images spread over the archive.

    The same archive gives the same ones, so that the seed decides the version.
    """
    pks = list(MedicalImage.objects.shown().order_by("pk").values_list("pk", flat=True))
    images = MedicalImage.objects.filter(pk__in=sample(pks, most=PROJECTION_SAMPLE)).order_by("pk")
    return embedder.normalised_features([Path(image.preview.path) for image in images])


def store_version(
    path: Path,
    *,
    digest: str,
    architecture: str,
    weights_source: str,
    weights_report: str,
    classes: Sequence[str] = (),
) -> ModelVersion:
    """Copy the file at `path`, whose SHA-256 is `digest`, into the archive, then add the row (status ready).

    What was trained may be stored again, since a trainer that was killed repeats the step: that gives the version that
    is there. Any other file that is a version already is refused (WeightsRefused). Raises JobFailed when the disk is
    full; nothing is left behind then.
    """
    if twin := ModelVersion.objects.exclude(status=ModelVersion.Status.RETIRED).filter(weights_sha256=digest).first():
        if weights_source == ModelVersion.Weights.TRAINED:
            return twin
        raise WeightsRefused(f"Model version {twin.number} has exactly these weights: use that one.")
    name = _store_weights(path, digest=digest)
    try:
        return _add_version(
            architecture=architecture,
            weights_source=weights_source,
            weights_report=weights_report,
            weights=name,
            weights_sha256=digest,
            classes=list(classes),
        )
    except DatabaseError:
        # Somebody who stored the same file at the same time may have been faster.
        if not ModelVersion.objects.filter(weights=name).exists():
            default_storage.delete(name)
        raise


def _store_weights(path: Path, *, digest: str) -> str:
    # The name of a retired version's file is never used again: it may be about to be deleted.
    retired = ModelVersion.objects.retired().filter(weights_sha256=digest).count()
    name = f"weights/{keyed_hash('weights', digest, str(retired))[:40]}.safetensors"
    with _full_disk_said(), path.open("rb") as file:
        return default_storage.save(name, File(file))


@contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise JobFailed(LOW_DISK) from error


@transaction.atomic
def _add_version(**fields: object) -> ModelVersion:
    with connection.cursor() as cursor:
        # Two that are stored at the same time get two numbers. Who only reads versions does not wait.
        cursor.execute(f"LOCK TABLE {ModelVersion._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")
    return ModelVersion.objects.create(number=ModelVersion.objects.next_number(), **fields)
