"""Where in an image the body is: what stands out of the background, without head holders, tables and labels."""

import numpy as np
from scipy import ndimage

# A larger image is looked at through every second, third ... pixel.
_SIDE = 64
# Share of the range between background and extremes from which a pixel counts as part of something.
_TOLERANCE = 0.08
_LEAST_STEP = 6
_LEAST_AREA = 0.08


def content_box(grey: np.ndarray) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right), half open, of the largest connected part of `grey`, float (h, w) in 0..255.

    The background is the median of the image's edge. An image without one, or with a part that is smaller than 8 %
    of it, is content as a whole.
    """
    height, width = grey.shape
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    step = max(1, min(height, width) // _SIDE)
    coarse = grey[::step, ::step] - np.median(edge)
    reach = np.abs(np.percentile(coarse, (0.5, 99.5))).max()
    # Opening takes thin lines away: they would tie the body to the table it lies on.
    standing_out = ndimage.binary_opening(np.abs(coarse) > max(_TOLERANCE * reach, _LEAST_STEP))
    parts, count = ndimage.label(standing_out)
    if count:
        sizes = ndimage.sum_labels(standing_out, parts, index=range(1, count + 1))
        rows, columns = ndimage.find_objects(parts)[int(np.argmax(sizes))]
        top, bottom = rows.start * step, min(height, rows.stop * step)
        left, right = columns.start * step, min(width, columns.stop * step)
        if (bottom - top) * (right - left) >= _LEAST_AREA * height * width:
            return top, bottom, left, right
    return 0, height, 0, width
