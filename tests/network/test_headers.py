"""What is told of a file of weights without opening it with torch."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from retrieval.network.architectures import ARCHITECTURES
from retrieval.network.errors import WeightsRefused
from retrieval.network.headers import check_fit
from retrieval.network.vgg import build_network, empty_network


@pytest.fixture
def narrow_file(tmp_path: Path) -> Path:
    save_file(build_network("narrow", classes=2).state_dict(), tmp_path / "narrow.safetensors", metadata={"a": "b"})
    return tmp_path / "narrow.safetensors"


def test_a_file_of_the_network_passes(narrow_file: Path) -> None:
    check_fit(narrow_file, architecture="narrow", frozen_blocks=0)


def test_a_file_of_another_network_does_not(narrow_file: Path) -> None:
    with pytest.raises(WeightsRefused, match="fits the network 'published'"):
        check_fit(narrow_file, architecture="published", frozen_blocks=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_convolutions_are_those_of_the_network(architecture: str) -> None:
    network = empty_network(architecture, classes=1)
    built = {name: tuple(layer.weight.shape) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    assert ARCHITECTURES[architecture].convolutions(blocks=5) == built


def test_blocks_are_frozen_only_where_the_file_fills_them(tmp_path: Path) -> None:
    path = tmp_path / "first.safetensors"
    # VGG16's first three blocks: seven convolutions. The published network adds one, which starts as the identity.
    shapes = list(ARCHITECTURES["vgg16"].convolutions(blocks=3).values())
    save_file({f"features.{number}.weight": torch.zeros(shape) for number, shape in enumerate(shapes)}, path)
    for blocks in range(4):
        check_fit(path, architecture="published", frozen_blocks=blocks)
    for blocks in (4, 5):
        with pytest.raises(WeightsRefused, match=f"The first {blocks} blocks cannot be frozen: first.safetensors"):
            check_fit(path, architecture="published", frozen_blocks=blocks)


def test_a_file_that_was_cut_is_refused(narrow_file: Path) -> None:
    narrow_file.write_bytes(narrow_file.read_bytes()[:-1])
    with pytest.raises(WeightsRefused, match="is not a complete"):
        check_fit(narrow_file, architecture="narrow", frozen_blocks=0)


def test_a_pytorch_file_under_the_other_name_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsRefused, match="is not a complete"):
        check_fit(tmp_path / "weights.safetensors", architecture="published", frozen_blocks=0)


def test_a_pytorch_file_is_left_to_torch(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    check_fit(tmp_path / "weights.pth", architecture="published", frozen_blocks=0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\xff" * 8 + b"{}",
        (10**7).to_bytes(8, "little") + b'{"a": ',
        b"\x02" + bytes(7) + b"[]",
        b"\x07" + bytes(7) + b'{"a":1}',
        b"\x15" + bytes(7) + b'{"a":{"shape":[[{}]]}}',
        b"\x2a" + bytes(7) + b'{"a":{"shape":[[1]],"data_offsets":[0,0]}}',
        b"\x2c" + bytes(7) + b'{"a":{"shape":[1e999],"data_offsets":[0,0]}}',
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
    ids=["empty", "short", "endless", "cut off", "list", "number", "no shape", "nested shape", "endless shape", "deep"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=r"weights\.safetensors is not a complete"):
        check_fit(path, architecture="narrow", frozen_blocks=0)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="cannot be read"):
        check_fit(tmp_path, architecture="narrow", frozen_blocks=0)
