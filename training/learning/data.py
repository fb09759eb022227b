"""Training images on their way to the network: decoded, augmented, through the frozen blocks.

What these make of an image is kept where it is the same in every epoch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from retrieval.network.errors import PreviewUnreadable
from retrieval.network.execution import make_block_runner
from retrieval.network.preprocessing import Preprocessing, load_image, prepare

_CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Previews (PNG files as this system renders them), and the number of each one's class."""

    paths: Sequence[Path]
    targets: np.ndarray

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.targets):
            raise ValueError(f"{len(self.paths)} images, but {len(self.targets)} classes.")

    def __len__(self) -> int:
        return len(self.paths)

    def __add__(self, other: Self) -> "LabelledImages":
        return LabelledImages(paths=[*self.paths, *other.paths], targets=np.concatenate([self.targets, other.targets]))


NO_IMAGES = LabelledImages(paths=[], targets=np.zeros(0, np.int64))


class FrozenBlocks:
    """The blocks that do not learn, as one function of pixels."""

    def __init__(
        self, blocks: nn.Sequential, *, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.preprocessing, self.device, self.dtype = preprocessing, device, dtype
        self._run = make_block_runner(blocks, device=device, dtype=dtype) if len(blocks) else None

    @property
    def is_empty(self) -> bool:
        """Whether all blocks learn."""
        return self._run is None

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 RGB (n, size, size, 3) -> activations (n, channels, side, side); without blocks the prepared images."""
        preprocessing = replace(self.preprocessing, size=pixels.shape[1])
        with torch.inference_mode():
            images = prepare(pixels, preprocessing=preprocessing, device=self.device, dtype=self.dtype)
            activations = self._run(images) if self._run else images
        # Outside of inference mode, so that autograd may keep it.
        return activations.clone()


class Inputs:
    """What the trainable part of the network reads of a set of images, batch by batch."""

    def __init__(
        self,
        images: LabelledImages,
        *,
        side: int,
        frozen: FrozenBlocks,
        cache_bytes: int,
        workers: int,
        on_progress: Callable[[int], None],
        augmentation: nn.Module | None = None,
    ) -> None:
        preprocessing = replace(frozen.preprocessing, size=side)
        self._pictures = _Pictures(images.paths, preprocessing=preprocessing, augmentation=augmentation)
        self._frozen, self._workers = frozen, workers
        self._cached = None if augmentation else self._computed_once(limit=cache_bytes, on_progress=on_progress)

    @property
    def cached_bytes(self) -> int:
        return 0 if self._cached is None else self._cached.nbytes

    def batches(self, order: Sequence[np.ndarray], *, seed: int) -> Iterator[Tensor]:
        """Yield one tensor for each array of image numbers. `seed` decides the augmentation, image by image: it is the
        same with other workers, on other machines, and divided between processes.
        """
        if self._cached is not None:
            for rows in order:
                yield self._cached[torch.from_numpy(rows)].to(self._frozen.device)
            return
        for pixels in self._pixels(order, seed=seed):
            yield self._frozen(pixels)

    def _computed_once(self, *, limit: int, on_progress: Callable[[int], None]) -> Tensor | None:
        """The activations of all images, where there are frozen blocks and they take at most `limit` bytes."""
        count = len(self._pictures)
        if count == 0 or self._frozen.is_empty:
            return None
        one = self._frozen(self._pictures[0, 0][None])
        if one.nbytes * count > limit:
            return None
        cache = torch.empty((count, *one.shape[1:]), dtype=one.dtype).to(memory_format=torch.channels_last)
        chunks = [np.arange(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
        for rows, pixels in zip(chunks, self._pixels(chunks, seed=0), strict=True):
            cache[rows[0] : rows[-1] + 1] = self._frozen(pixels).cpu()
            on_progress(int(rows[-1]) + 1)
        return cache

    def _pixels(self, order: Sequence[np.ndarray], *, seed: int) -> Iterator[Tensor]:
        """Decode and augment, in other processes where there are workers."""
        return iter(
            DataLoader(
                self._pictures,
                batch_sampler=[[(number, seed) for number in rows.tolist()] for rows in order],
                num_workers=min(self._workers, len(order)),
                # Nothing is drawn from it, but a loader without one draws a number from that of the network.
                generator=torch.Generator(),
                prefetch_factor=2 if self._workers and len(order) else None,
            )
        )


class _Pictures(Dataset[Tensor]):
    """uint8 RGB (size, size, 3) by number and the seed of its augmentation. Raises PreviewUnreadable."""

    def __init__(self, paths: Sequence[Path], *, preprocessing: Preprocessing, augmentation: nn.Module | None) -> None:
        self._paths, self._preprocessing, self._augmentation = paths, preprocessing, augmentation

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        path = self._paths[key[0]]
        if self._augmentation is None:
            return torch.from_numpy(load_image(path, preprocessing=self._preprocessing))
        # Forked: where there are no workers, the network's own draws go on from where they were.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            changed = self._augmentation(_whole_image(path))
        return changed.expand(3, -1, -1).permute(1, 2, 0)


def _whole_image(path: Path) -> Tensor:
    """uint8 (1 or 3, h, w), as it is stored."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            pixels = torch.from_numpy(np.array(image if image.mode in ("L", "RGB") else image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PreviewUnreadable("The preview image is missing or damaged.") from error
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
