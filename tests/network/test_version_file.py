"""A model version is one file: it comes back as it was, or it is refused with the reason."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from retrieval.network import tensor_files
from retrieval.network.errors import WeightsRefused
from retrieval.network.preprocessing import CAFFE, TORCHVISION
from retrieval.network.projection import Projection, fit_projection
from retrieval.network.tensor_files import METADATA_KEY, read_metadata
from retrieval.network.version_file import load_version, save_version
from retrieval.network.vgg import VGG

CLASSES = ("chest", "hand", "head")


def test_a_version_comes_back_as_it_was(tmp_path: Path, narrow: VGG, projection: Projection) -> None:
    path = tmp_path / "version"
    digest = save_version(
        path, network=narrow, preprocessing=CAFFE, projection=projection, classes=CLASSES, notes={"map": 0.9}
    )
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    version = load_version(path)
    assert (version.architecture, version.classes, version.preprocessing) == ("narrow", CLASSES, CAFFE)
    assert read_metadata(path)["notes"] == {"map": 0.9}
    assert np.array_equal(version.projection.mean, projection.mean)
    assert np.array_equal(version.projection.matrix, projection.matrix)
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(version.network(images), narrow(images), rtol=0, atol=0)


def test_only_the_finished_file_is_left(version_path: Path) -> None:
    assert [path.name for path in version_path.parent.iterdir()] == [version_path.name]


def test_a_failed_write_leaves_the_old_file(
    version_path: Path, narrow: VGG, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = version_path.read_bytes()

    def full_disk(_tensors: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(tensor_files, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_version(version_path, network=narrow, preprocessing=CAFFE, projection=projection, classes=CLASSES)
    assert version_path.read_bytes() == before
    assert len(list(version_path.parent.iterdir())) == 1


def test_a_loaded_version_survives_the_replacement_of_its_file(
    version_path: Path, narrow: VGG, projection: Projection
) -> None:
    version = load_version(version_path)
    before = version.network.features[0].weight.clone()
    with torch.no_grad():
        narrow.features[0].weight.zero_()
    save_version(version_path, network=narrow, preprocessing=CAFFE, projection=projection, classes=CLASSES)
    assert torch.equal(version.network.features[0].weight, before)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "b"), ("a", "b", ""), "abc"])
def test_classes_that_are_not_the_network_s_are_not_saved(
    tmp_path: Path, narrow: VGG, projection: Projection, classes: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"[Cc]lasses"):
        save_version(tmp_path / "file", network=narrow, preprocessing=CAFFE, projection=projection, classes=classes)
    assert not (tmp_path / "file").exists()


def test_an_untrained_head_has_no_class_names(tmp_path: Path, narrow: VGG, projection: Projection) -> None:
    save_version(tmp_path / "file", network=narrow, preprocessing=CAFFE, projection=projection, classes=[])
    version = load_version(tmp_path / "file")
    assert version.classes == ()
    assert version.network.classes == 3


def test_a_projection_of_another_width_is_not_saved(tmp_path: Path, narrow: VGG) -> None:
    wide = fit_projection(np.zeros((0, 600), np.float32))
    with pytest.raises(ValueError, match="600"):
        save_version(tmp_path / "file", network=narrow, preprocessing=CAFFE, projection=wide, classes=CLASSES)


Tensors = dict[str, torch.Tensor]
Description = dict[str, object]


def _missing_layer(tensors: Tensors, _description: Description) -> None:
    del tensors["network.features.4.weight"]


def _wrong_shape(tensors: Tensors, _description: Description) -> None:
    tensors["network.features.0.weight"] = torch.zeros(5, 3, 3, 3)


def _half_precision(tensors: Tensors, _description: Description) -> None:
    tensors["network.features.0.weight"] = tensors["network.features.0.weight"].half()


def _foreign_tensor(tensors: Tensors, _description: Description) -> None:
    tensors["optimizer.state"] = torch.zeros(3)


def _extra_layer(tensors: Tensors, _description: Description) -> None:
    tensors["network.features.99.weight"] = torch.zeros(3)


def _no_projection(tensors: Tensors, _description: Description) -> None:
    del tensors["projection.mean"]


def _infinite_projection(tensors: Tensors, _description: Description) -> None:
    tensors["projection.mean"][3] = float("inf")


def _narrow_projection(tensors: Tensors, _description: Description) -> None:
    tensors["projection.matrix"] = tensors["projection.matrix"][:, :100].contiguous()


def _other_class_count(_tensors: Tensors, description: Description) -> None:
    description["outputs"], description["classes"] = 2, ["a", "b"]


def _missing_class(_tensors: Tensors, description: Description) -> None:
    description["classes"] = ["a", "b"]


def _vague_outputs(_tensors: Tensors, description: Description) -> None:
    description["outputs"] = "3"


def _repeated_class(_tensors: Tensors, description: Description) -> None:
    description["classes"] = ["a", "b", "b"]


def _unknown_architecture(_tensors: Tensors, description: Description) -> None:
    description["architecture"] = "resnet"


def _no_preprocessing(_tensors: Tensors, description: Description) -> None:
    del description["preprocessing"]


def _bad_preprocessing(_tensors: Tensors, description: Description) -> None:
    description["preprocessing"] = {"size": 224}


def _other_format(_tensors: Tensors, description: Description) -> None:
    description["format"] = 99


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_missing_layer, r"features\.4\.weight"),
        (_wrong_shape, r"features\.0\.weight"),
        (_half_precision, "not float32"),
        (_foreign_tensor, r"optimizer\.state"),
        (_extra_layer, r"features\.99"),
        (_no_projection, r"projection\.mean"),
        (_infinite_projection, "not finite"),
        (_narrow_projection, "shapes"),
        (_other_class_count, "size mismatch"),
        (_missing_class, "3 classes, not 2"),
        (_vague_outputs, "not a number"),
        (_repeated_class, "distinct"),
        (_unknown_architecture, "resnet"),
        (_no_preprocessing, "preprocessing"),
        (_bad_preprocessing, "preprocessing"),
        (_other_format, "not a model version"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    version_path: Path, change: Callable[[Tensors, Description], None], reason: str
) -> None:
    with safe_open(version_path, framework="pt") as file:
        description = json.loads(file.metadata()[METADATA_KEY])
    tensors = {name: tensor.clone() for name, tensor in load_file(version_path).items()}
    change(tensors, description)
    save_file(tensors, version_path, metadata={METADATA_KEY: json.dumps(description)})
    with pytest.raises(WeightsRefused, match=reason):
        load_version(version_path)


@pytest.mark.parametrize("metadata", ["[1, 2]", "{", "[" * 100_000, '{"format": 1}', '{"format": 1, "classes": 3}'])
def test_a_description_that_is_not_ours_is_refused(tmp_path: Path, metadata: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "file", metadata={METADATA_KEY: metadata})
    with pytest.raises(WeightsRefused):
        load_version(tmp_path / "file")


def test_other_weights_files_are_not_versions(tmp_path: Path, narrow: VGG) -> None:
    save_file(narrow.state_dict(), tmp_path / "plain")
    torch.save(narrow.state_dict(), tmp_path / "pickled")
    for name in ("plain", "pickled"):
        with pytest.raises(WeightsRefused, match="not a model version"):
            load_version(tmp_path / name)


@pytest.mark.parametrize("length", [0, 100, -1])
def test_cut_versions_are_refused(version_path: Path, length: int) -> None:
    version_path.write_bytes(version_path.read_bytes()[:length])
    with pytest.raises(WeightsRefused, match="not a complete"):
        load_version(version_path)


def test_the_published_preprocessing_is_kept_with_the_weights(version_path: Path) -> None:
    assert load_version(version_path).preprocessing == TORCHVISION
