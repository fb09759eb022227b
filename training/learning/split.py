"""Which images train the network, which stop its training in time, and which judge it."""

import warnings
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

TEST_FOLDS = 5  # a fifth of all images
VALIDATION_FOLDS = 8  # an eighth of the other four fifths
_TRAIN, _VALIDATION, _TEST = _PARTS = range(3)


class SplitImpossible(ValueError):
    """These images cannot be divided so that each part shows each class; the message is for people."""


class Split(NamedTuple):
    """Indices of the images of each part: int64, ascending, disjoint, together all images."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def linked_groups(keys: Sequence[Collection[str]]) -> list[str]:
    """Return one group name for each image: images that share a key, or are linked by others that do, share it.

    An image without keys gets "", a group of its own.
    """
    roots: dict[str, str] = {}

    def root(key: str) -> str:
        while roots.setdefault(key, key) != key:
            roots[key] = roots[roots[key]]
            key = roots[key]
        return key

    for own in keys:
        first, *others = own or ("",)
        for other in others:
            roots[root(other)] = root(first)
    return [root(next(iter(own))) if own else "" for own in keys]


def stratified_split(labels: Sequence[str], *, groups: Sequence[str], seed: int) -> Split:
    """Divide images into about 70 % training, 10 % validation and 20 % test, with each class in each part.

    Images of one group (a patient) stay together; an image of the group "" is a group of its own. The same seed gives
    the same parts. Raises SplitImpossible, and ValueError for images without a label.
    """
    if "" in labels:
        raise ValueError("Only labelled images can be split.")
    if len(labels) != len(groups):
        raise ValueError(f"{len(groups)} groups are given for {len(labels)} labels.")
    names = sorted(set(labels))
    classes, patients = _numbered(labels), _numbered_groups(groups)
    _refuse_few(names, classes=classes, patients=patients)
    part = np.full(len(classes), _TRAIN)
    part[_fold(classes, patients=patients, folds=TEST_FOLDS, seed=seed)] = _TEST
    rest = np.flatnonzero(part == _TRAIN)
    part[rest[_fold(classes[rest], patients=patients[rest], folds=VALIDATION_FOLDS, seed=seed)]] = _VALIDATION
    part = _completed(part, names=names, classes=classes, patients=patients)
    return Split(*(np.flatnonzero(part == each) for each in _PARTS))


def _numbered(values: Sequence[str]) -> np.ndarray:
    """Numbers in the order of the names. Not np.unique: an array gives every string the room of the longest one."""
    numbers = {name: number for number, name in enumerate(sorted(set(values)))}
    return np.fromiter((numbers[value] for value in values), dtype=np.int64, count=len(values))


def _numbered_groups(groups: Sequence[str]) -> np.ndarray:
    numbers = _numbered(groups)
    unknown = np.flatnonzero([group == "" for group in groups])
    numbers[unknown] = len(groups) + unknown
    return np.unique(numbers, return_inverse=True)[1]


def _refuse_few(names: list[str], *, classes: np.ndarray, patients: np.ndarray) -> None:
    if not names:
        raise SplitImpossible("There are no images to train with.")
    if len(names) == 1:
        raise SplitImpossible(f"All images are of class “{names[0]}”; training needs at least 2 classes.")
    patient_counts = np.bincount(_pairs(classes, patients=patients)[1])
    few = [index for index, count in enumerate(patient_counts) if count < len(_PARTS)]
    if not few:
        return
    count, images = patient_counts[few[0]], np.bincount(classes)[few[0]]
    ending = "" if count == 1 else "s"
    has = f"only {count} image{ending}" if images == count else f"images of only {count} patient{ending}"
    others = ", ".join(f"“{names[index]}”" for index in few[1:])
    raise SplitImpossible(
        f"Class “{names[few[0]]}” has {has}; training needs at least 3, so that training, validation and test each "
        f"get one." + (f" Too few as well: {others}." if others else "")
    )


def _pairs(classes: np.ndarray, *, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return patient and class of each pair of the two that has an image, once."""
    width = classes.max() + 1
    both = np.unique(patients * width + classes)
    return both // width, both % width


def _fold(classes: np.ndarray, *, patients: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the indices of one of `folds` equal shares, none where there is too little to share out."""
    # StratifiedGroupKFold weighs one group after the other, which takes minutes for a million images that stand alone.
    alone = np.bincount(patients)[patients] == 1
    chosen = [np.empty(0, dtype=np.int64)]
    for rows, kind in ((alone, StratifiedKFold), (~alone, StratifiedGroupKFold)):
        indices = np.flatnonzero(rows)
        own, owners = classes[indices], patients[indices]
        if len(np.unique(owners)) < folds or np.bincount(own).max() < folds:
            continue
        with warnings.catch_warnings():
            # _completed gives the small classes their place.
            warnings.filterwarnings("ignore", message="The least populated class")
            splitter = kind(folds, shuffle=True, random_state=seed)
            parts = [part for _, part in splitter.split(indices, own, owners if kind is StratifiedGroupKFold else None)]
        chosen.append(indices[min(parts, key=lambda part: _unevenness(part, classes=own, folds=folds))])
    return np.concatenate(chosen)


def _unevenness(part: np.ndarray, *, classes: np.ndarray, folds: int) -> float:
    """How far the part is from its share of each class. The first fold holds the largest group and is rarely it."""
    totals = np.bincount(classes)
    counts = np.bincount(classes[part], minlength=len(totals))
    return float(np.abs(counts / np.maximum(totals, 1) - (totals > 0) / folds).sum())


def _completed(part: np.ndarray, *, names: list[str], classes: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Return `part` with whole groups moved to where a class was left out, from where it leaves no class out."""
    owners, kinds = _pairs(classes, patients=patients)
    sizes = np.bincount(patients)
    part_of = np.empty(len(sizes), dtype=np.int64)
    part_of[patients] = part
    held = np.zeros((len(_PARTS), len(names)), dtype=np.int64)  # groups that show the class in the part
    np.add.at(held, (part_of[owners], kinds), 1)
    for receiver, kind in np.argwhere(held == 0):
        if held[receiver, kind]:  # it came along with another class
            continue
        bound = np.zeros(len(sizes), dtype=bool)
        bound[owners[held[part_of[owners], kinds] == 1]] = True
        movable = [owner for owner in owners[kinds == kind] if not bound[owner]]
        if not movable:
            raise SplitImpossible(
                f"No way was found to have class “{names[kind]}” in training, validation and test at once: "
                "too many of its patients have images of other classes as well."
            )
        moved = max(movable, key=lambda owner: (held[part_of[owner], kind], -sizes[owner]))
        own = kinds[owners == moved]
        held[part_of[moved], own] -= 1
        held[receiver, own] += 1
        part_of[moved] = receiver
    return part_of[patients]
