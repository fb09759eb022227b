"""Networks start from whole and partial weights files, and say what they took; hostile files are refused."""

import csv
import errno
import os
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from retrieval.network import weights
from retrieval.network.errors import WeightsRefused, WeightsUnavailable
from retrieval.network.preprocessing import CAFFE, TORCHVISION, preprocessing_for
from retrieval.network.projection import Projection
from retrieval.network.tensor_files import METADATA_KEY
from retrieval.network.version_file import save_version
from retrieval.network.vgg import VGG, build_network
from retrieval.network.weights import initial_weights, layer_names

CLASSES = ("chest", "hand", "head")


def vgg16_tensors(network: VGG, *, prefix: str = "") -> dict[str, torch.Tensor]:
    """The network's tensors under VGG16's names, each filled with its own value."""
    names = layer_names(source=network.architecture.name, target="vgg16")
    state = network.state_dict()
    return {
        f"{prefix}{theirs}.{kind}": torch.full_like(state[f"{ours}.{kind}"], (place + 1) / 100)
        for place, (ours, theirs) in enumerate(names.items())
        for kind in ("weight", "bias")
    }


def test_the_added_layers_shift_the_names_of_those_that_follow() -> None:
    names = layer_names(source="vgg16", target="published")
    assert names["features.2"] == "features.2"
    assert names["features.5"] == "features.7"
    assert names["features.28"] == "features.30"
    assert names["classifier.3"] == "classifier.3"
    assert names["classifier.6"] == "classifier.9"
    assert len(names) == 16
    assert layer_names(source="vgg16", target="vgg16") == {name: name for name in names}


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
@pytest.mark.parametrize("kind", ["safetensors", "pth", "legacy pth", "nested pth"])
def test_whole_files_load_whatever_their_prefix_and_format(tmp_path: Path, narrow: VGG, prefix: str, kind: str) -> None:
    tensors, path = vgg16_tensors(narrow, prefix=prefix), tmp_path / "weights"
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        content = {"state_dict": tensors, "epoch": 3} if kind == "nested pth" else tensors
        torch.save(content, path, _use_new_zipfile_serialization=kind != "legacy pth")
    report = initial_weights(narrow, source=path)
    assert len(report.loaded) == 32
    assert report.missing == ["features.4.weight", "features.4.bias", "classifier.6.weight", "classifier.6.bias"]
    assert not report.unexpected
    assert not report.shape_mismatch
    assert narrow.features[7].bias[0].item() == pytest.approx(0.03)
    assert narrow.classifier[-1].bias[0].item() == pytest.approx(0.16)
    assert report.summary() == "32 of 36 parameters loaded; 4 start as the identity."


def test_a_partial_file_of_another_head_says_what_it_brought(tmp_path: Path, narrow: VGG) -> None:
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    tensors = {name: tensor.half() for name, tensor in vgg16_tensors(narrow).items() if name.startswith("features.")}
    tensors = {name: tensors[name] for name in list(tensors)[:6]}
    save_file(tensors | {"classifier.6.bias": torch.ones(1000), "bn.gamma": torch.ones(2)}, tmp_path / "part")
    report = initial_weights(narrow, source=tmp_path / "part")
    assert len(report.loaded) == 6
    assert report.shape_mismatch == ["classifier.9.bias"]
    assert report.unexpected == ["bn.gamma"]
    assert len(report.missing) == 29
    assert "6 of 36 parameters loaded; 4 start as the identity; 25 are not in the file" in report.summary()
    after = narrow.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in report.missing + report.shape_mismatch)
    assert after["features.0.weight"].dtype == torch.float32


def test_the_convolutions_alone_load_by_their_numbers(tmp_path: Path, narrow: VGG) -> None:
    tensors = {name.removeprefix("features."): each for name, each in vgg16_tensors(narrow).items() if "feat" in name}
    save_file(tensors, tmp_path / "features")
    assert len(initial_weights(narrow, source=tmp_path / "features").loaded) == 26


def test_training_goes_on_from_a_version_of_ours(tmp_path: Path, narrow: VGG, projection: Projection) -> None:
    """All layers carry over, the added ones too; a head for other classes starts fresh."""
    path = tmp_path / "version"
    save_version(path, network=narrow, preprocessing=CAFFE, projection=projection, classes=CLASSES)
    network = build_network("narrow", classes=5, seed=99)
    report = initial_weights(network, source=path)
    assert report.shape_mismatch == ["classifier.9.weight", "classifier.9.bias"]
    assert len(report.loaded) == 34
    assert not report.missing
    assert not report.unexpected
    assert torch.equal(network.features[0].weight, narrow.features[0].weight)
    assert preprocessing_for(path) == CAFFE


def test_what_a_foreign_file_expects_is_for_its_owner_to_say(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "file")
    assert preprocessing_for(tmp_path / "file") == TORCHVISION
    assert preprocessing_for(tmp_path / "file", otherwise=CAFFE) == CAFFE
    save_file({"a": torch.zeros(1)}, tmp_path / "odd", metadata={METADATA_KEY: '{"preprocessing": 3}'})
    with pytest.raises(WeightsRefused, match="does not exist"):
        preprocessing_for(tmp_path / "odd")


def test_no_weights_leave_the_network_as_it_was(narrow: VGG) -> None:
    before = narrow.features[0].weight.clone()
    report = initial_weights(narrow, source="none")
    assert not report.loaded
    assert len(report.missing) == 36
    assert torch.equal(narrow.features[0].weight, before)
    assert preprocessing_for("none") == TORCHVISION == preprocessing_for("imagenet")


class Hostile:
    """Its pickle makes a folder when it is loaded by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, narrow: VGG, zipped: bool) -> None:  # noqa: FBT001
    path, trap = tmp_path / "evil.pth", tmp_path / "owned"
    tensors = {**vgg16_tensors(narrow), "trap": Hostile(trap)}
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsRefused, match="something other than tensors"):
        initial_weights(narrow, source=path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a complete safetensors"),
        (b"not a weights file at all", "not a complete safetensors"),
        (b"\xff" * 16, "not a complete safetensors"),
        (b"PK\x03\x04 cut off", "damaged"),
        (b"\x80\x02 cut off", "damaged"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, narrow: VGG, content: bytes, reason: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(WeightsRefused, match=reason):
        initial_weights(narrow, source=tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path: Path, narrow: VGG) -> None:
    with pytest.raises(WeightsRefused, match="cannot be read"):
        initial_weights(narrow, source=tmp_path / "absent")


@pytest.mark.parametrize("length", [20, 1000, -1])
def test_cut_files_are_refused(tmp_path: Path, narrow: VGG, length: int) -> None:
    for save in (save_file, torch.save):
        save(vgg16_tensors(narrow), tmp_path / "whole")
        (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:length])
        with pytest.raises(WeightsRefused, match=r"complete|damaged"):
            initial_weights(narrow, source=tmp_path / "cut")


def test_files_with_nothing_for_the_network_are_refused(tmp_path: Path, narrow: VGG) -> None:
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet")
    with pytest.raises(WeightsRefused, match="Nothing in the file fits"):
        initial_weights(narrow, source=tmp_path / "resnet")
    torch.save([1, 2, 3], tmp_path / "list")
    with pytest.raises(WeightsRefused, match="no named tensors"):
        initial_weights(narrow, source=tmp_path / "list")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(float("nan"), torch.float32), (1e39, torch.float64)],
    ids=["no number", "beyond float32"],
)
def test_weights_that_are_not_finite_are_refused_and_leave_the_network_alone(
    tmp_path: Path, narrow: VGG, value: float, dtype: torch.dtype
) -> None:
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    tensors = vgg16_tensors(narrow)
    tensors["features.10.weight"] = tensors["features.10.weight"].to(dtype)
    tensors["features.10.weight"][0, 0, 0, 0] = value
    save_file(tensors, tmp_path / "odd")
    with pytest.raises(WeightsRefused, match="not finite"):
        initial_weights(narrow, source=tmp_path / "odd")
    assert all(torch.equal(before[name], tensor) for name, tensor in narrow.state_dict().items())


def test_a_layer_that_is_made_anew_after_loading_is_not_counted_as_loaded(tmp_path: Path, narrow: VGG) -> None:
    save_file(dict(narrow.state_dict()), tmp_path / "whole.safetensors")
    report = initial_weights(narrow, source=tmp_path / "whole.safetensors").with_fresh("classifier.9")
    assert report.replaced == ["classifier.9.weight", "classifier.9.bias"]
    assert "classifier.9.weight" not in report.loaded
    assert report.fresh_layers() == {"classifier.9"}
    assert report.summary() == "34 of 36 parameters loaded; 2 of the file are not used and start fresh."


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensor: tensor.to(torch.float8_e4m3fn),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to(torch.complex64),
    ],
    ids=["eight bits", "sparse", "without values", "complex"],
)
def test_tensors_that_are_no_plain_numbers_are_refused(
    tmp_path: Path, narrow: VGG, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    tensors = vgg16_tensors(narrow)
    tensors["features.2.weight"] = spoil(tensors["features.2.weight"])
    torch.save(tensors, tmp_path / "odd.pth")
    with pytest.raises(WeightsRefused, match=r"features\.2\.weight is of a kind that cannot be used"):
        initial_weights(narrow, source=tmp_path / "odd.pth")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_fits_nothing(tmp_path: Path, narrow: VGG) -> None:
    nested = torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])
    torch.save(vgg16_tensors(narrow) | {"features.2.weight": nested}, tmp_path / "odd.pth")
    assert initial_weights(narrow, source=tmp_path / "odd.pth").shape_mismatch == ["features.2.weight"]


def test_the_same_layer_behind_two_prefixes_is_refused(tmp_path: Path, narrow: VGG) -> None:
    save_file(vgg16_tensors(narrow, prefix="a.") | vgg16_tensors(narrow, prefix="b."), tmp_path / "twice")
    with pytest.raises(WeightsRefused, match="more than once"):
        initial_weights(narrow, source=tmp_path / "twice")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's cache of downloads, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("failure", [urllib.error.URLError("no route"), TimeoutError(), ConnectionResetError()])
def test_without_the_network_the_error_says_what_to_do(
    hub: Path, narrow: VGG, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(weights.urllib.request, "urlopen", fail)
    with pytest.raises(WeightsUnavailable) as raised:
        initial_weights(narrow, source="imagenet")
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in raised.value.reason
    assert str(hub / "vgg16-397923af.pth") in raised.value.reason


def test_a_cache_that_cannot_be_made_is_said(hub: Path, narrow: VGG) -> None:
    hub.parent.write_text("no folder")
    with pytest.raises(WeightsUnavailable, match="could not be downloaded"):
        initial_weights(narrow, source="imagenet")


@pytest.fixture
def mirror(tmp_path: Path, narrow: VGG, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's folder, with the file that is to be downloaded, named after its checksum as torchvision does."""
    import hashlib

    whole = tmp_path / "whole.pth"
    torch.save(vgg16_tensors(narrow), whole)
    path = whole.rename(tmp_path / f"vgg16-{hashlib.sha256(whole.read_bytes()).hexdigest()[:8]}.pth")
    monkeypatch.setattr(weights, "_imagenet_url", path.as_uri)
    return path


def test_imagenet_weights_are_downloaded_once_and_kept(hub: Path, mirror: Path, narrow: VGG) -> None:
    assert len(initial_weights(narrow, source="imagenet").loaded) == 32
    assert (hub / mirror.name).exists()
    mirror.unlink()
    assert len(initial_weights(narrow, source="imagenet").loaded) == 32


def test_a_damaged_download_is_not_used(hub: Path, mirror: Path, narrow: VGG) -> None:
    mirror.write_bytes(mirror.read_bytes()[:-5])
    with pytest.raises(WeightsUnavailable):
        initial_weights(narrow, source="imagenet")
    assert not (hub / mirror.name).exists()


@pytest.mark.usefixtures("hub", "mirror")
def test_a_full_disk_is_not_taken_for_a_lost_connection(narrow: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(WeightsUnavailable, match="The disk is full"):
        initial_weights(narrow, source="imagenet")


def test_a_damaged_file_in_the_cache_is_refused(hub: Path, mirror: Path, narrow: VGG) -> None:
    hub.mkdir(parents=True)
    (hub / mirror.name).write_bytes(b"cut off")
    with pytest.raises(WeightsRefused, match="checksum"):
        initial_weights(narrow, source="imagenet")


@pytest.mark.real
def test_the_real_partial_file_fills_the_first_three_blocks(real_data: Path) -> None:
    network = build_network("published", classes=18)
    report = initial_weights(network, source=real_data / "weights" / "vgg16_conv1-3.safetensors")
    places = [f"features.{number}" for number in (0, 2, 7, 9, 12, 14, 16)]
    assert report.loaded == [f"{place}.{kind}" for place in places for kind in ("weight", "bias")]
    assert not report.unexpected
    assert not report.shape_mismatch


@pytest.mark.real
def test_real_bad_model_files_are_refused(real_data: Path, narrow: VGG) -> None:
    folder = real_data / "badinputs"
    with (folder / "INDEX.csv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["file"].endswith((".pth", ".safetensors"))]
    assert len(names) >= 3
    for name in names:
        with pytest.raises(WeightsRefused):
            initial_weights(narrow, source=folder / name)
