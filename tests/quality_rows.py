"""Images of four labels that keep together, stored with their embeddings and without files; and planted oddities."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def add_images(
    dataset: Dataset, *, version: ModelVersion | None, specs: Sequence[tuple[np.ndarray | None, dict[str, object]]]
) -> list[MedicalImage]:
    """One image for each vector and its values, with pixels of its own unless the values say otherwise."""
    digests = [f"{next(_numbers):064x}" for _ in specs]
    originals = StoredFile.objects.bulk_create(
        StoredFile(sha256=digest, file=f"o{digest}", size=1, is_deidentified=True) for digest in digests
    )
    images = MedicalImage.objects.bulk_create(
        MedicalImage(
            **{
                "dataset": dataset,
                "original": original,
                "preview": f"p{original.sha256}",
                "thumbnail": f"t{original.sha256}",
                "width": 320,
                "height": 240,
                "pixel_sha256": original.sha256,
                "modality": "CT",
                "body_part_examined": "CHEST",
                **values,
            }
        )
        for original, (_, values) in zip(originals, specs, strict=True)
    )
    Embedding.objects.bulk_create(
        Embedding(image=image, model_version=version, vector=vector)
        for image, (vector, _) in zip(images, specs, strict=True)
        if version and vector is not None
    )
    return images


def add_image(
    dataset: Dataset, *, version: ModelVersion | None, vector: np.ndarray | None = None, **values: object
) -> MedicalImage:
    return add_images(dataset, version=version, specs=[(vector, values)])[0]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A well-behaved dataset, image by image, and what is wrong with the rest of it."""

    version: ModelVersion
    dataset: Dataset
    other: Dataset
    behaved: list[MedicalImage]
    twins: list[MedicalImage]
    near: list[MedicalImage]
    mislabelled: MedicalImage
    stranger: MedicalImage


def plant() -> Planted:
    """Of each label OF_LABEL images; two with the same pixels, two nearly the same, a wrong label and a stranger."""
    version = new_version()
    dataset, other = Dataset.objects.create(name="planted"), Dataset.objects.create(name="another")
    labels = [WORDS[number % len(WORDS)] for number in range(len(WORDS) * OF_LABEL)]
    behaved = [(drawn_vector(label, seed=number), {"label": label}) for number, label in enumerate(labels)]
    twin, one = drawn_vector("chest", seed=500), drawn_vector("chest", seed=501)
    odd: list[tuple[np.ndarray, dict[str, object]]] = [
        *[(twin, {"label": "chest", "pixel_sha256": "e" * 64})] * 2,
        (one, {"label": "chest"}),
        (between(one, drawn_vector("hand", seed=9), share=0.1), {"label": "chest"}),
        (drawn_vector("chest", seed=502), {"label": "hand"}),
        (unit(np.random.default_rng(77).normal(size=512)), {"label": "chest"}),
    ]
    images = add_images(dataset, version=version, specs=[*behaved, *odd])
    first = len(behaved)
    return Planted(
        version=version,
        dataset=dataset,
        other=other,
        behaved=images[:first],
        twins=images[first : first + 2],
        near=images[first + 2 : first + 4],
        mislabelled=images[-2],
        stranger=images[-1],
    )


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
