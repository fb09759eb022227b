"""Splits of random archives keep what they promise; archives that cannot be split are refused in words for people."""

import random
from collections import defaultdict

import numpy as np
import pytest

from training.learning.split import Split, SplitImpossible, linked_groups, stratified_split


def drawn_archive(seed: int, *, smallest: int = 3, largest: int = 60) -> tuple[list[str], list[str]]:
    """Labels and groups of 2 to 12 classes. In each third class patients are known, and most are in two classes."""
    rng = random.Random(seed)
    labels, groups = [], []
    for name in range(rng.randint(2, 12)):
        count = rng.randint(smallest, largest)
        labels += [f"class {name}"] * count
        if name % 3:
            groups += [""] * count
        else:
            groups += [f"patient {name // 6}/{index // 3}" for index in range(max(count - 6, 0))]
            groups += [f"own {name}/{index}" for index in range(min(count, 6))]
    order = rng.sample(range(len(labels)), len(labels))
    return [labels[index] for index in order], [groups[index] for index in order]


def shares_of(label: str, *, labels: list[str], split: Split) -> list[float]:
    return [sum(labels[index] == label for index in part) / labels.count(label) for part in split]


@pytest.mark.parametrize("seed", range(40))
def test_every_image_is_in_one_part_and_no_group_in_two(seed: int) -> None:
    labels, groups = drawn_archive(seed)
    split = stratified_split(labels, groups=groups, seed=seed)
    assert sorted(np.concatenate(split)) == list(range(len(labels)))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in split)
    parts_of = defaultdict(set)
    for number, part in enumerate(split):
        for index in part:
            parts_of[groups[index]].add(number)
    assert [group for group, parts in parts_of.items() if group and len(parts) > 1] == []


@pytest.mark.parametrize("seed", range(40))
def test_every_class_is_in_every_part(seed: int) -> None:
    labels, groups = drawn_archive(seed, largest=10)
    split = stratified_split(labels, groups=groups, seed=seed)
    assert [{labels[index] for index in part} for part in split] == [set(labels)] * 3


@pytest.mark.parametrize("seed", range(20))
def test_every_class_has_its_share_in_every_part(seed: int) -> None:
    labels, groups = drawn_archive(seed, smallest=60, largest=200)
    split = stratified_split(labels, groups=groups, seed=seed)
    for label in set(labels):
        assert shares_of(label, labels=labels, split=split) == pytest.approx([0.7, 0.1, 0.2], abs=0.05)


def test_images_without_patients_are_shared_out_exactly() -> None:
    labels = ["ct"] * 300 + ["mri"] * 100
    split = stratified_split(labels, groups=[""] * 400, seed=0)
    for label in ("ct", "mri"):
        assert shares_of(label, labels=labels, split=split) == pytest.approx([0.7, 0.1, 0.2])


@pytest.mark.parametrize(
    ("count", "expected"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (6, [4, 1, 1]), (10, [7, 1, 2]), (20, [14, 2, 4])]
)
def test_small_classes_beside_large_ones(count: int, expected: list[int]) -> None:
    labels = ["large"] * 500 + ["small"] * count
    split = stratified_split(labels, groups=[""] * len(labels), seed=3)
    assert [sum(labels[index] == "small" for index in part) for part in split] == expected


def test_a_patient_with_half_of_the_images_trains() -> None:
    labels = ["a", "b"] * 200
    groups = ["busy"] * 200 + [f"patient {index // 4}" for index in range(200)]
    split = stratified_split(labels, groups=groups, seed=0)
    assert set(range(200)) <= set(split.train)
    assert 0.04 < len(split.validation) / 400 < len(split.test) / 400 < 0.25


def test_of_few_patients_the_one_with_most_images_trains() -> None:
    labels = ["ct"] * 100 + ["fundus"] * 38
    groups = [""] * 100 + ["left"] * 4 + ["busy"] * 30 + ["right"] * 4
    split = stratified_split(labels, groups=groups, seed=0)
    assert [sum(labels[index] == "fundus" for index in part) for part in split] == [30, 4, 4]


def test_three_patients_who_have_all_classes() -> None:
    labels = ["a", "b", "c"] * 10
    split = stratified_split(
        labels, groups=[f"patient {index // 9}" for index in range(27)] + ["patient 0"] * 3, seed=0
    )
    assert sorted(len(part) for part in split) == [9, 9, 12]


def test_the_seed_decides() -> None:
    labels, groups = drawn_archive(1, smallest=50)
    first, again, other = (stratified_split(labels, groups=groups, seed=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.test, other.test)


def test_too_few_patients_are_refused() -> None:
    labels = ["ct"] * 20 + ["fundus"] * 20
    groups = [""] * 20 + ["left"] * 15 + ["right"] * 5
    with pytest.raises(SplitImpossible) as raised:
        stratified_split(labels, groups=groups, seed=0)
    assert str(raised.value) == (
        "Class “fundus” has images of only 2 patients; training needs at least 3, "
        "so that training, validation and test each get one."
    )


def test_too_few_images_are_refused_for_all_classes_at_once() -> None:
    labels = ["ct"] * 20 + ["fundus"] + ["mri"] * 2 + ["pet"] * 2
    with pytest.raises(SplitImpossible) as raised:
        stratified_split(labels, groups=[""] * 25, seed=0)
    assert str(raised.value) == (
        "Class “fundus” has only 1 image; training needs at least 3, "
        "so that training, validation and test each get one. Too few as well: “mri”, “pet”."
    )


def test_patients_shared_by_too_many_classes_are_refused() -> None:
    """Each two of the four patients share a class, so that no two of them may be in the same of three parts."""
    shown = {"a": "123", "b": "124", "c": "134", "d": "234"}
    labels = [label for label, patients in shown.items() for _ in patients]
    with pytest.raises(SplitImpossible, match="of its patients have images of other classes"):
        stratified_split(labels, groups=[each for patients in shown.values() for each in patients], seed=0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "There are no images to train with."),
        (["ct"] * 9, "All images are of class “ct”; training needs at least 2 classes."),
    ],
)
def test_fewer_than_two_classes_are_refused(labels: list[str], said: str) -> None:
    with pytest.raises(SplitImpossible) as raised:
        stratified_split(labels, groups=[""] * len(labels), seed=0)
    assert str(raised.value) == said


def test_the_caller_leaves_unlabelled_images_out() -> None:
    with pytest.raises(ValueError, match="labelled") as raised:
        stratified_split(["a", "", "b"] * 5, groups=[""] * 15, seed=0)
    assert not isinstance(raised.value, SplitImpossible)


def test_labels_and_groups_belong_together() -> None:
    with pytest.raises(ValueError, match="4 groups are given for 6 labels"):
        stratified_split(["a", "b"] * 3, groups=[""] * 4, seed=0)


def test_images_that_share_a_key_are_linked_through_others() -> None:
    keys = [["file 1", "patient a"], ["file 2", "patient b"], ["file 3", "patient a"], ["file 2", "patient a"], []]
    groups = linked_groups(keys)
    assert len(set(groups[:4])) == 1
    assert groups[4] == ""
    apart = linked_groups([["x"], ["y"], ["x"]])
    assert apart[0] == apart[2] != apart[1]
