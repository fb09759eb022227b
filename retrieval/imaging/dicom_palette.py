"""PALETTE COLOR -> RGB (DICOM PS3.3, C.7.6.3.1.5 and C.7.9.2)."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from retrieval.imaging.dicom_damage import damaged
from retrieval.imaging.picture import levels

COLOURS = ("Red", "Green", "Blue")


def palette_levels(pixels: np.ndarray, *, dataset: Dataset) -> np.ndarray:
    """Look up each (H, W) index in the file's palette; returns (H, W, 3) uint8.

    Raises KeyError, AttributeError or ValueError when the palette is missing or malformed.
    """
    tables = palette_tables(dataset)
    _, first, _ = _descriptor(dataset)
    indices = np.clip(pixels.astype(np.int32) - first, 0, len(tables) - 1)
    return _to_eight_bits(tables)[indices]


def palette_tables(dataset: Dataset) -> np.ndarray:
    """Return the palette as (entries, 3), uint8 or uint16; raises as palette_levels, and FileRefused."""
    entries, first, _ = _descriptor(dataset)
    if "RedPaletteColorLookupTableData" in dataset:
        return np.stack([_table(dataset, colour=colour, entries=entries) for colour in COLOURS], axis=-1)
    try:
        # In segments (PS3.3, C.7.9.2): every index once.
        return apply_color_lut(np.arange(first, first + entries), dataset)[..., :3]
    except IndexError as error:
        raise damaged("its palette has fewer colours than it says") from error


def _descriptor(dataset: Dataset) -> tuple[int, int, int]:
    entries, first, bits = (int(number) for number in dataset["RedPaletteColorLookupTableDescriptor"].value)
    return entries or 2**16, first, bits


def _table(dataset: Dataset, *, colour: str, entries: int) -> np.ndarray:
    """Return one colour's entries; 8-bit entries come packed or one to a 16-bit word, whatever the header says."""
    data = dataset[f"{colour}PaletteColorLookupTableData"].value
    order = "<" if dataset.original_encoding[1] else ">"
    kind = "u1" if len(data) < 2 * entries else f"{order}u2"
    return np.frombuffer(data, dtype=kind)[:entries]


def _to_eight_bits(tables: np.ndarray) -> np.ndarray:
    if tables.dtype == np.uint8 or not tables.size or tables.max() <= 255:
        return tables.astype(np.uint8)
    return levels(tables, lowest=0, highest=65535)
