"""Names of files that somebody else chose: which mean no file of a dataset, and how all others are shown."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

NAME_LENGTH = 400
# A sentence names a few, each in a length that people read.
EXAMPLES = 5
_EXAMPLE_LENGTH = 100
# What macOS, Windows and the usual file servers leave beside files. Any other hidden file is somebody's.
_LITTER = {
    *("__macosx", ".ds_store", ".localized", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"),
}
# AppleDouble: the half of a file that other systems have no place for.
_APPLE_DOUBLE = "._"


def printable(name: str) -> str:
    """Replace what garbles a page or a terminal, or what PostgreSQL refuses: control, format, surrogate characters."""
    return "".join("\ufffd" if unicodedata.category(letter)[0] == "C" else letter for letter in name)


def distinct(names: Iterable[str]) -> Iterator[str]:
    """Yield each name as people see it: printable, cut to NAME_LENGTH, and numbered where two would look alike."""
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for name in names:
        shown = candidate = _cut(printable(name))
        while candidate in taken:
            counts[shown] += 1
            candidate = f"{shown} ({counts[shown] + 1})"
        taken.add(candidate)
        yield candidate


def _cut(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH // 2]}…{name[1 - NAME_LENGTH // 2 :]}"


def examples(names: Sequence[str], *, count: int) -> str:
    """The first few of `count` names, for a sentence."""
    shown = [printable(name)[:_EXAMPLE_LENGTH] or "(no name)" for name in names[:EXAMPLES]]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def is_litter(name: str) -> bool:
    """Tell whether an operating system left this behind."""
    return any(part.lower() in _LITTER or part.startswith(_APPLE_DOUBLE) for part in PurePosixPath(name).parts)


def leads_out(name: str) -> bool:
    """Tell whether unpacking the name as it stands would write outside of the folder unpacked to."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "\0" in name or (len(name) > 1 and name[1] == ":")
