"""How pydicom itself shows a frame: the reference that our own grey pipeline is compared with."""

import copy
import warnings

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array

# PS3.3, C.7.6.16: what enhanced objects keep for each frame, or once for all of them.
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


def reference_levels(dataset: Dataset, *, index: int) -> np.ndarray:
    """Return (H, W) or (H, W, 3) uint8 by pydicom's pixel_array, modality and VOI functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = pixel_array(dataset, index=index)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            coloured = apply_color_lut(pixels, dataset)[..., :3]
            return _spread(coloured, low=0, high=np.iinfo(coloured.dtype).max)
        if pixels.ndim == 3:
            return _spread(pixels, low=0, high=2**dataset.BitsStored - 1)
        return _grey(pixels, dataset=_of_frame(dataset, index=index))


def _grey(pixels: np.ndarray, *, dataset: Dataset) -> np.ndarray:
    values = apply_modality_lut(pixels, dataset)
    presented = apply_voi_lut(values, dataset)
    if presented is values:
        low, high = _range(values, counted=_not_padding(pixels, dataset=dataset))
    elif dataset.get("VOILUTSequence"):
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:  # the two ends that pydicom maps a window to
        low, high = apply_windowing(np.array([-1e30, 1e30]), dataset)
    levels = _spread(presented, low=low, high=high)
    return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def _of_frame(dataset: Dataset, *, index: int) -> Dataset:
    """A data set with the frame's own rescale and window at its top level, where pydicom looks for them."""
    frame = copy.copy(dataset)
    groups = (dataset.get("SharedFunctionalGroupsSequence"), dataset.get("PerFrameFunctionalGroupsSequence"))
    for items, at in zip(groups, (0, index), strict=True):
        for group in _GROUPS if items and len(items) > at else ():
            for item in items[at].get(group, ()):
                frame.update(item)
    return frame


def _not_padding(pixels: np.ndarray, *, dataset: Dataset) -> np.ndarray:
    """PS3.3, C.7.5.1.1.2; pydicom has no function for it."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.ones(pixels.shape, dtype=bool)
    ends = (value, dataset.get("PixelPaddingRangeLimit", value))
    return (pixels < min(ends)) | (pixels > max(ends))


def _range(values: np.ndarray, *, counted: np.ndarray) -> tuple[float, float]:
    real = values[counted & np.isfinite(values)]
    return (real.min(), real.max()) if real.size else (0, 0)


def _spread(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
    if high == low:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled = (values.astype(np.float64) - low) / (float(high) - float(low)) * 255
    return np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
