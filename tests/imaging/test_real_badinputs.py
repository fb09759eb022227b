"""The real malformed and hostile files: each ends as their index says, quickly, in bounds, and in plain words."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from retrieval.imaging import Decoder, FileRefused, open_source
from tests.bad_inputs import MEMORY, bad_inputs, complaint
from tests.imaging.children import peak_of

pytestmark = pytest.mark.real


@dataclass
class Outcome:
    """What became of a file, or of the members of an archive."""

    accepted: int = 0
    refusals: list[str] = field(default_factory=list)
    members: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def _decode(path: Path, *, decoder: Decoder, outcome: Outcome) -> str:
    """Count the file as accepted or refused, and return which."""
    began = time.monotonic()
    try:
        list(decoder.render(path))
        outcome.accepted += 1
        return "accepted"
    except FileRefused as refused:
        outcome.refusals.append(refused.reason)
        return refused.reason
    finally:
        outcome.seconds = max(outcome.seconds, time.monotonic() - began)


def _unpack(path: Path, *, decoder: Decoder, folder: Path) -> Outcome:
    outcome = Outcome()
    try:
        with open_source(path) as source:
            for member in source.members:
                try:
                    with member.fetch(folder) as file:
                        outcome.members[member.name] = _decode(file, decoder=decoder, outcome=outcome)
                except FileRefused as refused:
                    outcome.refusals.append(refused.reason)
                    outcome.members[member.name] = refused.reason
    except FileRefused as refused:
        outcome.refusals.append(refused.reason)
    return outcome


def _outcome(path: Path, *, decoder: Decoder, folder: Path) -> Outcome:
    if path.suffix == ".zip":
        return _unpack(path, decoder=decoder, folder=folder)
    outcome = Outcome()
    _decode(path, decoder=decoder, outcome=outcome)
    return outcome


def test_every_bad_input_ends_as_its_index_says(real_data: Path, tmp_path: Path) -> None:
    complaints, peak = {}, 0
    with Decoder() as decoder:
        for file in bad_inputs(real_data):
            outcome = _outcome(file.path, decoder=decoder, folder=tmp_path)
            peak = max(peak, peak_of(decoder))
            complaints[file.name] = complaint(
                file.expected, accepted=outcome.accepted, refusals=outcome.refusals, seconds=outcome.seconds
            )
    assert {name: said for name, said in complaints.items() if said} == {}
    assert 0 < peak < MEMORY


def test_of_a_torn_or_hostile_archive_nothing_is_accepted(real_data: Path, tmp_path: Path, decoder: Decoder) -> None:
    for name in ("zip_truncated", "zip_bomb_1GB", "zip_overlapping_200", "zip_nested_6x10", "zip_lying_size", "empty"):
        outcome = _unpack(real_data / f"badinputs/generated/{name}.zip", decoder=decoder, folder=tmp_path)
        assert (outcome.accepted, bool(outcome.refusals)) == (0, True), name


def test_of_an_archive_with_junk_the_good_is_read_and_all_else_listed(
    real_data: Path, tmp_path: Path, decoder: Decoder
) -> None:
    path = real_data / "badinputs/generated/zip_mixed_junk.zip"
    outcome = _unpack(path, decoder=decoder, folder=tmp_path)
    assert outcome.members.pop("a.png") == "accepted"
    assert set(outcome.members) == {"broken.png", "readme.txt"}
    with open_source(path) as source:
        assert set(source.skipped) == {"__MACOSX/._a.png", ".DS_Store", "Thumbs.db"}


def test_members_of_one_name_are_all_read(real_data: Path, tmp_path: Path, decoder: Decoder) -> None:
    outcome = _unpack(real_data / "badinputs/generated/zip_duplicate_names.zip", decoder=decoder, folder=tmp_path)
    assert outcome.members == dict.fromkeys(("A.PNG", "a.png", "a.png (2)", "x/a.png"), "accepted")


def test_a_picture_that_is_also_an_archive_is_read_as_a_picture(real_data: Path, decoder: Decoder) -> None:
    (rendering,) = decoder.render(real_data / "badinputs/generated/jpeg_zip_polyglot.jpg")
    assert (rendering.width, rendering.height) == (8, 8)


def test_planted_metadata_and_script_do_not_reach_previews(real_data: Path, decoder: Decoder) -> None:
    for name, marks in (("exif_canary.jpg", (b"CANARY", b"Exif", b"GPS")), ("png_with_script_tail.png", (b"<script",))):
        path = real_data / "badinputs/generated" / name
        assert any(mark.lower() in path.read_bytes().lower() for mark in marks)
        (rendering,) = decoder.render(path)
        served = (rendering.preview + rendering.thumbnail).lower()
        assert not any(mark.lower() in served for mark in marks)
