"""Images of four labels that keep together, stored with their embeddings and without files; and planted oddities."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from retrieval.models import Dataset, Embedding, JobStatus, MedicalImage, ModelVersion, QualityCheck, StoredFile
from retrieval.services import jobs
from retrieval.services.quality import check_quality

WORDS = ("abdomen", "chest", "hand", "knee")
OF_LABEL = 12
_numbers = count(1)


def new_version(number: int = 1, *, status: str = "active") -> ModelVersion:
    return ModelVersion.objects.create(
        number=number,
        architecture="narrow",
        weights_source="none",
        weights=f"w{number}",
        weights_sha256="0" * 64,
        status=status,
    )


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def drawn_vector(label: str, *, seed: int) -> np.ndarray:
    """Float (512,), L2-normalised: about 0.7 similar to others of the label, and not to other labels."""
    centre = np.random.default_rng(WORDS.index(label)).normal(size=512)
    return unit(centre + 0.65 * np.random.default_rng(1000 + seed).normal(size=512))


def between(one: np.ndarray, other: np.ndarray, *, share: float) -> np.ndarray:
    return unit((1 - share) * one + share * other)


def add_image(
    dataset: Dataset, *, version: ModelVersion | None, vector: np.ndarray | None = None, **values: object
) -> MedicalImage:
    """One image with pixels of its own, unless `values` say otherwise."""
    number = next(_numbers)
    digest = f"{number:064x}"
    original = StoredFile.objects.create(sha256=digest, file=f"o{number}", size=1, is_deidentified=True)
    image = MedicalImage.objects.create(
        **{
            "dataset": dataset,
            "original": original,
            "preview": f"p{number}",
            "thumbnail": f"t{number}",
            "width": 320,
            "height": 240,
            "pixel_sha256": digest,
            "modality": "CT",
            "body_part_examined": "CHEST",
            **values,
        }
    )
    if version and vector is not None:
        Embedding.objects.create(image=image, model_version=version, vector=vector)
    return image


@dataclass
class Planted:
    """A well-behaved dataset, image by image, and what is wrong with the rest of it."""

    version: ModelVersion
    dataset: Dataset
    other: Dataset
    behaved: list[MedicalImage] = field(default_factory=list)
    twins: Sequence[MedicalImage] = ()
    near: Sequence[MedicalImage] = ()
    mislabelled: MedicalImage | None = None
    stranger: MedicalImage | None = None


def plant() -> Planted:
    """Of each label OF_LABEL images; two with the same pixels, two nearly the same, a wrong label and a stranger."""
    version = new_version()
    planted = Planted(version, Dataset.objects.create(name="planted"), Dataset.objects.create(name="another"))
    for number in range(len(WORDS) * OF_LABEL):
        label = WORDS[number % len(WORDS)]
        vector = drawn_vector(label, seed=number)
        planted.behaved.append(add_image(planted.dataset, version=version, vector=vector, label=label))

    def add(seed: int, *, vector: np.ndarray | None = None, label: str = "chest", **values: object) -> MedicalImage:
        drawn = drawn_vector("chest", seed=seed) if vector is None else vector
        return add_image(planted.dataset, version=version, vector=drawn, label=label, **values)

    planted.twins = [add(500, pixel_sha256="e" * 64), add(500, pixel_sha256="e" * 64)]
    one = drawn_vector("chest", seed=501)
    planted.near = [add(501), add(501, vector=between(one, drawn_vector("hand", seed=9), share=0.1))]
    planted.mislabelled = add(502, label="hand")
    planted.stranger = add(503, vector=unit(np.random.default_rng(77).normal(size=512)))
    return planted


def checked(dataset: Dataset) -> QualityCheck:
    """Do a check of the dataset as a worker does, and return it as the database has it afterwards."""
    queued = dataset.quality_checks.unfinished().first() or QualityCheck.objects.create(dataset=dataset)
    claimed = jobs.claim(QualityCheck, queued.pk)
    assert claimed is not None
    with jobs.working_on(claimed):
        check_quality(claimed)
    check = QualityCheck.objects.get(pk=queued.pk)
    assert check.status == JobStatus.DONE, check.reason
    return check
