"""The demo archive on disk: a folder of PNG files for each class, and a manifest that says what they show."""

import csv
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from retrieval.demo.phantoms import CLASSES
from retrieval.demo.subject import Subject

MANIFEST = "manifest.csv"
COLUMNS = ("file", "class", "modality", "body_part", "patient_group")
# How many images the patients of a class have, in turn: several, and not all the same number.
IMAGES_PER_PATIENT = (3, 2, 4)


class Shot(NamedTuple):
    """One image that is to be drawn; the numbers count from 0 within the class."""

    label: str
    number: int
    patient: int


def write_demo_archive(folder: Path, *, images_per_class: int = 20, seed: int = 0) -> int:
    """Draw the archive into the folder and return the number of images; the same seed gives the same bytes."""
    shots = [shot for label in sorted(CLASSES) for shot in _shots(label, images=images_per_class)]
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
    # A newcomer waits for this: draw on all processors.
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(partial(_write, folder=folder, seed=seed), shots, chunksize=5))
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return len(rows)


def _shots(label: str, *, images: int) -> Iterator[Shot]:
    patients = (patient for patient, size in enumerate(cycle(IMAGES_PER_PATIENT)) for _ in range(size))
    for number, patient in zip(range(images), patients, strict=False):
        yield Shot(label, number, patient)


def _write(shot: Shot, *, folder: Path, seed: int) -> tuple[str, str, str, str, str]:
    """Draw one image into the folder and return its row of the manifest."""
    row = _row(shot)
    Image.fromarray(_draw(shot, seed=seed)).save(folder / row[0])
    return row


def _draw(shot: Shot, *, seed: int) -> np.ndarray:
    # The name of the class, not its place in the list: a new class must not change the others.
    entropy = [seed, zlib.crc32(shot.label.encode())]
    patient_seed = _seed_of([*entropy, 0, shot.patient])
    image_seed = _seed_of([*entropy, 1, shot.number])
    return CLASSES[shot.label].draw(Subject(patient_seed=patient_seed, image_seed=image_seed))


def _seed_of(entropy: list[int]) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def _row(shot: Shot) -> tuple[str, str, str, str, str]:
    phantom = CLASSES[shot.label]
    file = f"{shot.label}/{shot.label}_{shot.number:03d}.png"
    return file, shot.label, phantom.modality, phantom.body_part, f"{shot.label}-patient-{shot.patient:03d}"
