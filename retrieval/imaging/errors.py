"""The one exception of this package: a file or an archive that is not taken."""


class FileRefused(Exception):
    """A file or a whole archive is refused.

    `reason` is a plain sentence for the clinician: what is wrong and, where it helps, what to do. It is written by
    this package and never repeats a value found in the file, since such values can name a patient.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
