"""Preview image -> uint8 pixels -> what a network takes. The numbers travel with the weights that need them."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from retrieval.network.architectures import INPUT_SIDE
from retrieval.network.errors import PreviewUnreadable, WeightsRefused
from retrieval.network.tensor_files import read_metadata


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How RGB pixels 0..255 become network input: (pixel * scale - mean) / std, in the network's channel order.

    `size` is the side of the square input in pixels. `resize` has one value, and files of weights name it: "squash"
    ignores the aspect ratio, as the published system does. Raises ValueError for values that make no sense.
    """

    size: int = INPUT_SIDE
    channel_order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: Literal["squash"] = "squash"

    def __post_init__(self) -> None:
        sound = self.size > 0 and self.channel_order in ("RGB", "BGR") and self.resize == "squash"
        numbers = (self.scale, *self.mean, *self.std)
        triples = len(self.mean) == 3 and len(self.std) == 3
        if not (sound and triples and np.isfinite(numbers).all() and self.scale > 0 and min(self.std) > 0):
            raise ValueError(f"Not a usable preprocessing: {self}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of to_dict. Raises ValueError for unknown or missing fields, wrong types and another size."""
        if not isinstance(values, Mapping) or set(values) != set(cls.__dataclass_fields__):
            raise ValueError(f"A preprocessing has the fields {', '.join(cls.__dataclass_fields__)}.")
        if type(values["size"]) is not int or values["size"] != INPUT_SIDE:
            raise ValueError(f"A preprocessing makes images of {INPUT_SIDE} pixels a side, not {values['size']}.")
        try:
            triples = {name: _numbers(values[name]) for name in ("mean", "std")}
            return cls(**dict(values) | triples | {"scale": _number(values["scale"])})
        except (TypeError, OverflowError) as error:
            raise ValueError(f"Not a usable preprocessing: {values}.") from error


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError("It is no list.")
    return tuple(_number(value) for value in values)


def _number(value: object) -> float:
    # True is an int.
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("It is no number.")
    return float(value)


# The statistics of ImageNet as torchvision trained on it.
TORCHVISION = Preprocessing(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# The original VGG weights and what was trained from them with Caffe.
CAFFE = Preprocessing(channel_order="BGR", mean=(103.939, 116.779, 123.68))


def preprocessing_for(source: str | Path, *, otherwise: Preprocessing = TORCHVISION) -> Preprocessing:
    """Return what the weights of `source` ("imagenet", "none" or a file) expect. Raises WeightsRefused.

    A file saved by save_version says it itself. Of any other file only the person who made it knows, and `otherwise`
    is taken: weights that were converted from Caffe, in part or in whole, need CAFFE.
    """
    if not isinstance(source, Path):
        return TORCHVISION
    described = read_metadata(source).get("preprocessing")
    try:
        return otherwise if described is None else Preprocessing.from_dict(described)
    except ValueError as error:
        raise WeightsRefused(f"{source.name} asks for a preprocessing that does not exist.") from error


def load_image(source: Path | bytes, *, preprocessing: Preprocessing = TORCHVISION) -> np.ndarray:
    """Return one of our own previews (a PNG, grey or RGB) as uint8 RGB pixels (size, size, 3).

    For previews that this system rendered, not for files that users sent. Raises PreviewUnreadable.
    """
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=("PNG",)) as image:
            # Grey stays one channel until it is resized: a third of the work.
            pixels = np.array(_resized(_grey_or_rgb(image), size=preprocessing.size))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PreviewUnreadable("The preview image is missing or damaged.") from error
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def prepare(
    batch: np.ndarray | Tensor,
    *,
    preprocessing: Preprocessing,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return uint8 RGB images (n, size, size, 3) as normalised input (n, 3, size, size), channels_last.

    The pixels move to the device as bytes and are normalised there in float32, whatever `dtype` comes out.
    Raises ValueError for another shape or type.
    """
    images = torch.as_tensor(batch)
    size = preprocessing.size
    if images.dtype != torch.uint8 or images.shape[1:] != (size, size, 3):
        raise ValueError(f"Expected uint8 (n, {size}, {size}, 3), got {images.dtype} {tuple(images.shape)}.")
    images = images.to(device)
    factor, offset = (row.to(images.device) for row in _row(preprocessing))
    if preprocessing.channel_order == "BGR":
        images = images.flip(-1)
    # Whole rows of the image at a time: a last dimension of three channels would leave the processor's vectors empty.
    rows = torch.addcmul(offset, images.reshape(-1, size, size * 3).float(), factor)
    return rows.to(dtype).view(-1, size, size, 3).permute(0, 3, 1, 2)


def _row(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Factor and offset of every value of one image row: (size * 3,) each, so that input = pixel * factor + offset."""
    std = torch.tensor(preprocessing.std, dtype=torch.float64)
    factor = preprocessing.scale / std
    offset = -torch.tensor(preprocessing.mean, dtype=torch.float64) / std
    return factor.float().repeat(preprocessing.size), offset.float().repeat(preprocessing.size)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _resized(image: Image.Image, *, size: int) -> Image.Image:
    """Resize to the square input. Pillow's bilinear filter is antialiased: it averages over the pixels it drops."""
    return image.resize((size, size), Image.Resampling.BILINEAR)
