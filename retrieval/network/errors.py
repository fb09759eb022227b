"""What this package raises, one class for each thing that a caller handles. Free of torch: anyone may import it."""

from collections.abc import Iterable


class NetworkError(Exception):
    """Base of the errors of this package; `reason` is one plain sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WeightsUnavailable(NetworkError):
    """The weights could not be fetched from here; `reason` says how to get them by hand."""


class WeightsRefused(NetworkError):
    """A weights file is damaged, is foreign or does not fit the network."""


class PreviewUnreadable(NetworkError, ValueError):
    """A preview image could not be read: missing or damaged."""


class DegenerateEmbedding(NetworkError, ValueError):
    """Some rows are zero or not finite and have no direction, so that no cosine distance exists for them.

    `rows` are the indices, in the batch that was passed in, of those that were met first. There is no sound one among
    them; among the others there may be more, which are met once these are left out.
    """

    def __init__(self, rows: Iterable[int]) -> None:
        self.rows = tuple(int(row) for row in rows)
        super().__init__(f"The network finds nothing to compare in these images of the batch: {list(self.rows)}.")
