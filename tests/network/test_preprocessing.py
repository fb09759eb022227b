"""Previews become the input that the weights were trained on."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from retrieval.network.errors import PreviewUnreadable
from retrieval.network.preprocessing import CAFFE, TORCHVISION, Preprocessing, load_image, prepare
from tests.network.conftest import batch_of
from tests.pictures import drawn_pixels, png


def test_loading_and_preparing_is_what_torchvision_does() -> None:
    rgb = np.stack([drawn_pixels(seed) for seed in range(3)], axis=2)
    reference = transforms.Compose(
        [
            transforms.Resize((224, 224), antialias=True),
            transforms.ToTensor(),
            transforms.Normalize(TORCHVISION.mean, TORCHVISION.std),
        ]
    )
    ours = prepare(load_image(png(rgb))[None], preprocessing=TORCHVISION)
    torch.testing.assert_close(ours[0], reference(Image.fromarray(rgb)), atol=1e-5, rtol=0)


def test_caffe_weights_get_bgr_minus_the_mean() -> None:
    pixels = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 200, 100, 50
    prepared = prepare(pixels, preprocessing=CAFFE)[0, :, 0, 0]
    torch.testing.assert_close(prepared, torch.tensor([50 - 103.939, 100 - 116.779, 200 - 123.68]))


def test_grey_is_the_same_in_all_three_channels() -> None:
    grey = drawn_pixels(0)
    image = load_image(png(grey))
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, load_image(png(np.repeat(grey[..., None], 3, axis=2))))


def test_an_image_of_any_aspect_fills_the_square() -> None:
    assert load_image(png(np.full((100, 200), 255, dtype=np.uint8))).min() == 255


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA"])
def test_other_png_modes_come_out_as_rgb(mode: str) -> None:
    out = io.BytesIO()
    Image.fromarray(drawn_pixels(0)).convert(mode).save(out, "PNG")
    assert load_image(out.getvalue()).shape == (224, 224, 3)


def test_a_path_and_its_bytes_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    path.write_bytes(png(drawn_pixels(3)))
    assert np.array_equal(load_image(path), load_image(path.read_bytes()))


def _cut(path: Path) -> None:
    path.write_bytes(png(drawn_pixels(0))[:5000])


def _absent(path: Path) -> None:
    path.unlink(missing_ok=True)


def _jpeg(path: Path) -> None:
    Image.fromarray(drawn_pixels(0)).save(path, "JPEG")


@pytest.mark.parametrize("spoil", [_cut, _absent, _jpeg])
def test_an_unreadable_preview_is_refused(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "preview.png"
    spoil(path)
    with pytest.raises(PreviewUnreadable, match="missing or damaged"):
        load_image(path)


def test_prepared_batches_are_channels_last_and_of_the_wanted_type() -> None:
    prepared = prepare(batch_of(2), preprocessing=TORCHVISION, dtype=torch.bfloat16)
    assert prepared.shape == (2, 3, 224, 224)
    assert prepared.dtype == torch.bfloat16
    assert prepared.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch", [np.zeros((1, 3, 224, 224), np.uint8), np.zeros((1, 224, 224, 3), np.float32)])
def test_a_batch_of_another_shape_or_type_is_refused(batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected uint8"):
        prepare(batch, preprocessing=TORCHVISION)


@pytest.mark.parametrize("preprocessing", [TORCHVISION, CAFFE])
def test_preprocessing_survives_json(preprocessing: Preprocessing) -> None:
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    "change",
    [
        {"std": [0, 1, 1]},
        {"mean": [0, 1]},
        {"mean": 0},
        {"channel_order": "GBR"},
        {"size": 0},
        {"size": 128},
        {"size": 224.0},
        {"mean": "123"},
        {"mean": {1: 0, 2: 0, 3: 0}},
        {"std": ["1", 1, 1]},
        {"std": [True, 1, 1]},
        {"scale": "1"},
        {"scale": float("nan")},
        {"scale": 10**400},
        {"mean": [10**400, 0, 0]},
        {"resize": "pad"},
        {"colour": "yes"},
    ],
)
def test_a_preprocessing_that_makes_no_sense_is_refused(change: dict) -> None:
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing.from_dict(TORCHVISION.to_dict() | change)


def test_a_preprocessing_has_a_size() -> None:
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing(size=0)
