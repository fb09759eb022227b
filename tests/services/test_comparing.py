"""What is compared with what: judgements on the same images, and a trained network with simple methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.models import Dataset, ModelVersion
from retrieval.network.embedder import Embedder
from retrieval.network.preprocessing import TORCHVISION
from retrieval.network.vgg import build_network
from tests.pictures import drawn_pixels, png
from tests.training_rows import make_evaluation, make_run, make_version
from training.learning.judging import Features, compute_features
from training.results import comparable
from training.services import comparing


def test_judgements_of_which_one_could_read_fewer_images_are_not_compared(
    active_version: ModelVersion, dataset: Dataset
) -> None:
    run = make_run(dataset)
    version = make_version(number=7, run=run)
    ours, theirs = (make_evaluation(run, version=each) for each in (version, active_version))
    assert list(comparable(version, active_version)) == [(ours, theirs)]
    for part in ("queries", "gallery"):
        theirs.report[part] -= 1
        theirs.save()
        assert list(comparable(version, active_version)) == []
        theirs.report[part] += 1


def test_the_features_of_many_images_are_computed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(b"damaged" if number == 2 else png(drawn_pixels(number)))
    embedder = Embedder(build_network("narrow", classes=2), preprocessing=TORCHVISION, projection=None)
    whole = compute_features(embedder, paths)
    sizes: list[int] = []

    def counted(embedder: Embedder, part: Sequence[Path], **values: Any) -> Features:
        sizes.append(len(part))
        return compute_features(embedder, part, **values)

    monkeypatch.setattr(comparing, "compute_features", counted)
    monkeypatch.setattr(comparing, "_FEATURES_AT_ONCE", 2, raising=False)
    features = comparing._features(embedder, paths=paths)
    assert sizes == [2, 2, 1]
    assert np.allclose(features[[0, 1, 3, 4]], whole.raw[:, : embedder.dense_width], atol=1e-5)
    assert not features[2].any()
