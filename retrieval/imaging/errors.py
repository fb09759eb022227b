"""What this package raises: a file or an archive that is not taken, or no means to look at it."""


class FileRefused(Exception):
    """A file or a whole archive is refused.

    `reason` is a plain sentence for the clinician: what is wrong and, where it helps, what to do. It is written by
    this package and never repeats a value found in the file, since such values can name a patient.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecoderUnavailable(Exception):
    """The decoding process cannot be started here. No file is to blame: nothing was looked at."""

    def __init__(self) -> None:
        super().__init__("The decoding process does not start; `python -m retrieval.imaging.child '{}'` shows why.")
