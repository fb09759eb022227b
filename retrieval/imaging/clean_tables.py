"""The tables of a DICOM file by which its picture is shown, and no entry more than their descriptors say.

They are numbers, and a text written instead of some of them cannot be told from them. So only those stay that our own
rendering looks up: the first modality LUT, the first VOI LUT (PS3.3, C.11.1 and C.11.2), and the palettes (C.7.6.3.1.5)
of a picture of indices.
"""

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from retrieval.imaging.dicom_grey import LUT_SEQUENCES, lut_sequence, usable_lut
from retrieval.imaging.dicom_palette import COLOURS, palette_tables

_EXTENDED_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def kept_tables(dataset: Dataset, *, encapsulated: bool) -> list[DataElement]:
    """Return the tables of the data set itself; its offset tables must be known to be true."""
    kept = [dataset[keyword] for keyword in _EXTENDED_OFFSETS if encapsulated and keyword in dataset]
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        return kept
    names = [f"{colour}PaletteColorLookupTableData" for colour in COLOURS]
    if names[0] in dataset:
        entries = int(dataset["RedPaletteColorLookupTableDescriptor"].value[0]) or 2**16
        return kept + [_cut(dataset[name], entries=entries) for name in names]
    # Segments may give more entries than there are, with room for any text; a plain palette has none.
    tables = palette_tables(dataset)
    kind = tables.dtype.newbyteorder("<" if dataset.original_encoding[1] else ">")
    plain = (table.astype(kind).tobytes() for table in tables.T)
    return kept + [
        DataElement(name, "OW", data + bytes(len(data) % 2)) for name, data in zip(names, plain, strict=True)
    ]


def luts_looked_up(dataset: Dataset, *, frames: int) -> list[DataElement]:
    """Return the sequences of LUTs that some frame is shown by; colours pass no LUT."""
    if dataset.SamplesPerPixel != 1 or dataset.PhotometricInterpretation == "PALETTE COLOR":
        return []
    found = (
        lut_sequence(dataset, index=index, keyword=keyword) for index in range(frames) for keyword in LUT_SEQUENCES
    )
    return [sequence for sequence in found if sequence is not None]


def keep_lut(sequence: DataElement) -> DataElement:
    """Leave the first item of a sequence of LUTs, with nothing but its table, and that only if it is usable."""
    del sequence.value[1:]
    item = usable_lut(sequence)
    kept: list[DataElement] = []
    if item is not None:
        entries = int(item.LUTDescriptor[0]) or 2**16
        kept = [item["LUTDescriptor"], _cut(item["LUTData"], entries=entries)]
    for emptied in sequence.value:
        emptied.clear()
        for element in kept:
            emptied.add(element)
    return sequence


def _cut(table: DataElement, *, entries: int) -> DataElement:
    """Entries of 8 bits come packed, or one to a word, whatever the header says: as they are read."""
    data = table.value
    if isinstance(data, bytes):
        length = entries if len(data) < 2 * entries else 2 * entries
        data = data[:length] + bytes(min(length, len(data)) % 2)
    elif isinstance(data, MultiValue | list):
        data = list(data)[:entries]
    return DataElement(table.tag, table.VR, data)
