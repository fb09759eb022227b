"""The tables of a DICOM file by which its picture is shown, and no entry more than their descriptors say.

They are numbers, and a text written instead of some of them cannot be told from them. So only those stay that our own
rendering looks up: the first modality LUT, the first VOI LUT (PS3.3, C.11.1 and C.11.2), and the palettes (C.7.6.3.1.5)
of a picture of indices.
"""

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

LUT_SEQUENCES = ("ModalityLUTSequence", "VOILUTSequence")
_COLOURS = ("Red", "Green", "Blue")
_EXTENDED_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")


def kept_tables(dataset: Dataset, *, encapsulated: bool) -> list[DataElement]:
    """Return the tables of the data set itself; its offset tables must be known to be true."""
    kept = [dataset[keyword] for keyword in _EXTENDED_OFFSETS if encapsulated and keyword in dataset]
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        return kept
    plain, segmented = (
        [f"{kind}{colour}PaletteColorLookupTableData" for colour in _COLOURS] for kind in ("", "Segmented")
    )
    if plain[0] not in dataset:
        return kept + [dataset[keyword] for keyword in segmented]
    entries = int(dataset["RedPaletteColorLookupTableDescriptor"].value[0]) or 2**16
    return kept + [_cut(dataset[keyword], entries=entries) for keyword in plain]


def keep_lut(sequence: DataElement) -> DataElement:
    """Leave the first item of a sequence of LUTs, with nothing but its table, and that only if it is complete."""
    del sequence.value[1:]
    for item in sequence.value:
        kept: list[DataElement] = []
        if item.get("LUTData") and len(item.get("LUTDescriptor") or ()) == 3:
            entries = int(item.LUTDescriptor[0]) or 2**16
            kept = [item["LUTDescriptor"], _cut(item["LUTData"], entries=entries)]
        item.clear()
        for element in kept:
            item.add(element)
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
