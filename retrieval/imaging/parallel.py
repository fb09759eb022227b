"""Many files at once: one thread and one decoding process for each processor."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TypeVar

from retrieval.imaging.limits import Limits
from retrieval.imaging.sandbox import Decoder

Item = TypeVar("Item")
Result = TypeVar("Result")
# Enough that no decoder waits for the reader, few enough that memory and disk stay small.
_AHEAD_PER_WORKER = 2


def in_order(
    work: Callable[[Decoder, Item], Result], items: Iterable[Item], *, workers: int, limits: Limits | None = None
) -> Generator[Result, None, None]:
    """Yield work(decoder, item) for each item, in order, worked on by `workers` threads with a Decoder each.

    At most a few items are taken ahead of the one that the caller looks at. What `work` raises comes out here.
    """
    with ExitStack() as stack:
        decoders: SimpleQueue[Decoder] = SimpleQueue()
        for _ in range(workers):
            decoders.put(stack.enter_context(Decoder(limits)))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_with_decoder, work, item, decoders))
                if len(waiting) > workers * _AHEAD_PER_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _with_decoder(work: Callable[[Decoder, Item], Result], item: Item, decoders: "SimpleQueue[Decoder]") -> Result:
    decoder = decoders.get()
    try:
        return work(decoder, item)
    finally:
        decoders.put(decoder)
