"""Random changes of a training image that leave its anatomy as it is, drawn from torch's own generator.

"light" is small shifts, scales and brightness. "strong" also hides where an image came from: framing, resolution,
sharpness, compression, window, contrast, background, borders and noise say which scanner and which export it went
through, and a network that learns those finds nothing in the images of another hospital.
"""

import io
import math
from typing import Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from training.learning.content import content_box


def make_augmentation(kind: Literal["light", "strong"], *, side: int, flips: bool) -> nn.Module:
    """Return a module: one uint8 image (1 or 3, h, w) -> uint8 (same channels, side, side).

    Flips are off unless chosen: left and right differ in a body.
    """
    steps = _light(side) if kind == "light" else _strong(side)
    if flips:
        steps.append(v2.RandomHorizontalFlip())
    return nn.Sequential(*steps)


def _light(side: int) -> list[nn.Module]:
    return [
        v2.Resize((side, side)),
        v2.RandomAffine(degrees=5, translate=(0.05, 0.05), scale=(0.9, 1.1)),
        v2.ColorJitter(brightness=0.15, contrast=0.15),
    ]


def _strong(side: int) -> list[nn.Module]:
    return [
        v2.RandomChoice([Framing(least=-0.06, most=0.12), Margin(share=0.5, most=0.35)], p=[0.6, 0.4]),
        v2.RandomResizedCrop((side, side), scale=(0.55, 1.0), ratio=(0.75, 1.33)),
        v2.RandomApply([Turn(degrees=15)], p=0.5),
        Window(),
        v2.RandomGrayscale(p=0.3),
        v2.RandomApply([Tint()], p=0.1),
        v2.RandomApply([v2.RandomAdjustSharpness(3.0, p=1.0)], p=0.15),
        # A third of all images as thumbnails. Where one class was archived as thumbnails only, sharpness would tell it.
        v2.RandomChoice(
            [Resolution(least=32, most=66), v2.RandomApply([Resolution(least=40, most=side)], p=0.7)], p=[0.35, 0.65]
        ),
        v2.RandomApply([v2.GaussianBlur(7, sigma=(0.3, 2.0))], p=0.2),
        v2.RandomApply([Noise(most=0.06)], p=0.3),
        v2.RandomApply([Compression(worst=25, best=95)], p=0.5),
        v2.RandomErasing(p=0.2, scale=(0.02, 0.12)),
    ]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _happens(share: float) -> bool:
    return torch.rand(()).item() < share


class Framing(nn.Module):
    """The body alone: cut at its own borders, from a little inside (`least`) to a little outside (`most`) of them.

    One source leaves air around a head and shows its holder, another fills the picture with it.
    """

    def __init__(self, *, least: float, most: float) -> None:
        super().__init__()
        self.least, self.most = least, most

    def forward(self, image: Tensor) -> Tensor:
        top, bottom, left, right = content_box(image.float().mean(dim=0).numpy())
        above, below = (round((bottom - top) * _uniform(self.least, self.most)) for _ in range(2))
        before, behind = (round((right - left) * _uniform(self.least, self.most)) for _ in range(2))
        return image[..., max(0, top - above) : bottom + below, max(0, left - before) : right + behind]


class Margin(nn.Module):
    """A border of one grey around some images: black as after padding, white as on paper, or what the corner shows."""

    def __init__(self, *, share: float, most: float) -> None:
        super().__init__()
        self.share, self.most = share, most

    def forward(self, image: Tensor) -> Tensor:
        if not _happens(self.share):
            return image
        height, width = image.shape[-2:]
        left, right = (int(width * _uniform(0, self.most / 2)) for _ in range(2))
        top, bottom = (int(height * _uniform(0, self.most / 2)) for _ in range(2))
        corner = float(image[..., 0, 0].float().mean())
        fill = corner if _happens(0.5) else 0.0 if _happens(0.8) else 255.0
        return F.pad(image, [left, top, right, bottom], fill=fill)


class Turn(nn.Module):
    """A rotation; the corners it bares take the grey of the image's own corner."""

    def __init__(self, *, degrees: float) -> None:
        super().__init__()
        self.degrees = degrees

    def forward(self, image: Tensor) -> Tensor:
        fill = [float(value) for value in image[..., 0, 0]]
        angle = _uniform(-self.degrees, self.degrees)
        return F.rotate(image, angle, interpolation=InterpolationMode.BILINEAR, fill=fill)


class Window(nn.Module):
    """Another window over the same grey values, another gamma, and sometimes a background that is not black."""

    def forward(self, image: Tensor) -> Tensor:
        pixels = image.float() / 255
        if _happens(0.7):
            low, high = _uniform(-0.2, 0.25), _uniform(0.6, 1.2)
            pixels = ((pixels - low) / (high - low)).clamp(0, 1)
        if _happens(0.7):
            pixels = pixels ** math.exp(_uniform(-0.7, 0.7))
        if _happens(0.25):
            floor = _uniform(0, 0.45)
            pixels = floor + (1 - floor) * pixels
        return (pixels * 255).round().to(torch.uint8)


class Tint(nn.Module):
    """A cast of colour, as a screenshot or a photograph of a screen has; a grey image becomes a coloured one."""

    def forward(self, image: Tensor) -> Tensor:
        gains = 1 - 0.5 * torch.rand(3, 1, 1)
        return (image.float() * gains).round().to(torch.uint8)


class Resolution(nn.Module):
    """Fewer pixels, from `least` to `most` a side, and back again: a thumbnail, a low-resolution scan."""

    def __init__(self, *, least: int, most: int) -> None:
        super().__init__()
        self.least, self.most = least, most

    def forward(self, image: Tensor) -> Tensor:
        side = round(self.least * (self.most / self.least) ** torch.rand(()).item())
        small = F.resize(image, [side, side])
        back = InterpolationMode.NEAREST if _happens(0.1) else InterpolationMode.BILINEAR
        return F.resize(small, list(image.shape[-2:]), interpolation=back)


class Compression(nn.Module):
    """JPEG, of a quality between `worst` and `best` in the units of Pillow."""

    def __init__(self, *, worst: int, best: int) -> None:
        super().__init__()
        self.worst, self.best = worst, best

    def forward(self, image: Tensor) -> Tensor:
        file = io.BytesIO()
        F.to_pil_image(image).save(file, "JPEG", quality=round(_uniform(self.worst, self.best)))
        with Image.open(file, formats=("JPEG",)) as compressed:
            return F.pil_to_tensor(compressed)


class Noise(nn.Module):
    """Gaussian noise, the same in all channels, of up to `most` of the full range."""

    def __init__(self, *, most: float) -> None:
        super().__init__()
        self.most = most

    def forward(self, image: Tensor) -> Tensor:
        noise = torch.randn(image.shape[-2:]) * (255 * _uniform(0, self.most))
        return (image.float() + noise).clamp(0, 255).to(torch.uint8)
