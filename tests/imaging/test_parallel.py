"""Many files at once: in order, a few ahead, and nothing left running."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.imaging import Decoder, FileRefused, in_order
from tests.imaging.children import is_gone, pid_of
from tests.imaging.files import ramp, saved


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Pictures of 1, 2, 3 ... rows; every third one is broken."""
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        content = saved(ramp(rows=number + 1))
        path.write_bytes(content[:50] if number % 3 == 2 else content)
    return paths


def _height(decoder: Decoder, path: Path) -> int | str:
    time.sleep(0.03 if int(path.stem) % 2 == 0 else 0)
    try:
        (rendering,) = decoder.render(path)
    except FileRefused as refused:
        return refused.reason
    return rendering.height


def test_results_come_in_the_order_of_the_items(paths: list[Path]) -> None:
    results = list(in_order(_height, paths, workers=3))
    assert [result for result in results if isinstance(result, int)] == [1, 2, 4, 5, 7, 8, 10, 11]
    assert [isinstance(result, str) for result in results] == [False, False, True] * 4


def test_only_a_few_items_are_taken_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda _, number: number, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()
    assert len(taken) <= 6


def test_what_the_work_raises_comes_out_and_every_process_ends() -> None:
    started: set[int] = set()

    def fail_at_seven(decoder: Decoder, number: int) -> int:
        started.add(pid_of(decoder))
        if number == 7:
            raise LookupError
        return number

    results = []
    with pytest.raises(LookupError):
        results.extend(in_order(fail_at_seven, range(100), workers=2))
    assert 1 <= len(started) <= 2
    assert all(is_gone(pid, within=5) for pid in started)


def test_a_failing_source_of_items_comes_out_and_ends_every_process() -> None:
    started: set[int] = set()

    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError(28, "No space left on device")

    def work(decoder: Decoder, number: int) -> int:
        started.add(pid_of(decoder))
        return number

    with pytest.raises(OSError, match="No space left"):
        list(in_order(work, items(), workers=2))
    assert all(is_gone(pid, within=5) for pid in started)
