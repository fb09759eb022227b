"""What may go wrong while a network is trained or judged, as the reason of the job: words for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from retrieval.services.jobs import JobFailed
from retrieval.storage import NO_SPACE

LOW_DISK = "The disk is full: nothing of this was put into service. Free some space and start it again."
EPOCHS_LOST = (
    "The disk is full: the run was ended, and its epochs are lost. Free some space and start it again: it begins with "
    "the first epoch."
)
NO_MEMORY = "The memory is not enough: choose a smaller batch size, or give the trainer more memory."
IMAGE_GONE = "An image was deleted or damaged in the meantime: start it again without it."
# What PyTorch calls a decoding process that the kernel has killed (also for shared memory), and memory that it did not
# get. A decoding process that was told to end, as at a shutdown, is no such thing: the run is gone on with.
_MEMORY_WORDS = (
    *("killed by signal: Killed", "killed by signal: Bus error"),
    *("not enough memory", "can't allocate memory", "out of memory"),
)


@contextmanager
def spoken_reasons(*, low_disk: str = LOW_DISK) -> Iterator[None]:
    """Raise JobFailed for what has a reason that people can do something about; all else passes.

    `low_disk` says what a full disk means for what is done here.
    """
    from retrieval.network.errors import NetworkError, PreviewUnreadable
    from training.learning.learner import TrainingDiverged

    try:
        yield
    except PreviewUnreadable as error:
        # Not its own words: from a decoding process it comes with a whole traceback.
        raise JobFailed(IMAGE_GONE) from error
    except NetworkError as error:
        raise JobFailed(error.reason) from error
    except TrainingDiverged as error:
        raise JobFailed(str(error)) from error
    except MemoryError as error:
        raise JobFailed(NO_MEMORY) from error
    except RuntimeError as error:
        if not _is_of_memory(error):
            raise
        raise JobFailed(NO_MEMORY) from error
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise JobFailed(low_disk) from error


def _is_of_memory(error: BaseException) -> bool:
    """Tell by its words or by those of what it comes from: a killed decoding process is named in the cause alone."""
    texts = (str(each) for each in (error, error.__cause__) if each)
    return any(words in text for text in texts for words in _MEMORY_WORDS)
