"""A folder that scanners and scripts drop files into: imported, then moved to `done` or `refused` below it.

What has lain still for a while is moved to `importing`, in a batch of its own: a zip, a folder, or the loose files.
Where a manifest is among these, all but the zips is one batch, which waits until the last of it lies still. All moves
are renames, and the import job's row says how far a batch has come, so that whatever is interrupted is gone on with.
Nothing is deleted.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.db import IntegrityError

from retrieval.imaging import MANIFEST, ArchiveLimits, FileRefused, ManifestRefused, open_source
from retrieval.models import Dataset, ImportedFile, ImportJob, JobStatus
from retrieval.services import jobs
from retrieval.services.importing import import_dataset

IMPORTING, DONE, REFUSED = "importing", "done", "refused"
REASONS = "reasons.txt"
# Below `importing`: the batch of a manifest, until the last of its files is in it.
_GATHERED = ".gathered"
CANCELLED = "The import was cancelled."
DROP_AGAIN = "Nothing was imported: correct it, and drop all of it again."
STAYS = (
    "{name} stays where it is and is not imported, since it cannot be moved: {why}. Let the user that runs this "
    "command write to it, or drop a zip of it instead."
)
WAITS = (
    "{name} waits for the files that it describes: drop them beside it. That of a zip is read from inside the zip only."
)
STILL_WRITTEN = (
    "{name} is still being written, or its time is still to come: the manifest, and all that lies beside it, waits."
)
ARCHIVE_UNUSABLE = "The files of the archive cannot be written: look at the disk or network drive that they are on."
GONE = "The dataset that this folder feeds was deleted. What is not imported yet stays below `importing` of the folder."
IS_IN_DONE = "It could not be moved here and is in `{done}`."
_PATIENCE_SECONDS = 60
# Loose files of one batch: an import finds out within minutes what became of them.
_MOST_LOOSE = 1000


class DatasetGone(Exception):
    """Nothing can be imported any more; the message is for people."""

    def __init__(self) -> None:
        super().__init__(GONE)


def was_watched(root: Path) -> bool:
    return any((root / name).is_dir() for name in (IMPORTING, DONE, REFUSED))


@dataclass(kw_only=True)
class Outcome:
    """What became of a batch. `refused` has the path below the batch of each refused file, and why."""

    batch: str
    accepted: int = 0
    duplicates: int = 0
    refused: dict[str, str] = field(default_factory=dict)


class HotFolder:
    """`root` with what is in it; files count as complete once nothing has changed them for `settle_seconds`.

    What cannot be taken from it stays, and `tell` hears of it once, in a sentence. Raises OSError where the folder
    itself can't be written to.
    """

    def __init__(self, root: Path, *, dataset: Dataset, settle_seconds: float, tell: Callable[[str], object]) -> None:
        self.root, self.dataset, self.settle_seconds, self.tell = root.resolve(), dataset, settle_seconds, tell
        self.staying: set[str] = set()
        self._waits_since = 0.0
        for name in (IMPORTING, DONE, REFUSED):
            (self.root / name).mkdir(exist_ok=True)

    def work(self, *, progress: jobs.Progress = jobs.silent) -> Iterator[Outcome]:
        """Import everything that lies there complete, what was interrupted first. Raises JobFailed, DatasetGone."""
        self._put_reasons()
        self._take_settled()
        for batch in sorted(path for path in (self.root / IMPORTING).iterdir() if path.name != _GATHERED):
            outcome = self._import(batch, progress=progress)
            if outcome:
                self._move(batch, refused=outcome.refused)
                yield outcome

    def _take_settled(self) -> None:
        entries = sorted(entry for entry in self.root.iterdir() if entry.name not in (IMPORTING, DONE, REFUSED))
        # What somebody took away and drops again is told of again.
        self.staying &= {entry.name for entry in entries}
        settled = [entry for entry in entries if not _is_hidden(entry) and self._is_settled(entry)]
        if (self.root / IMPORTING / _GATHERED).exists() or any(map(_is_manifest, entries)):
            self._take_described([entry for entry in entries if not _is_zip(entry)])
            settled = list(filter(_is_zip, settled))
        loose = [entry for entry in settled if not _is_source(entry)]
        groups = [[entry] for entry in settled if _is_source(entry)]
        groups += [loose[start : start + _MOST_LOOSE] for start in range(0, len(loose), _MOST_LOOSE)]
        for group in groups:
            batch = self._new_batch()
            batch.mkdir()
            for entry in group:
                self._take(entry, batch=batch)
            if not any(batch.iterdir()):
                batch.rmdir()

    def _new_batch(self) -> Path:
        return self.root / IMPORTING / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"

    def _take_described(self, entries: list[Path]) -> None:
        """All that a manifest may describe, once none of it is written any more: also under a hidden name.

        What cannot be looked at is told of, and waited for by nobody.
        """
        unsettled = [entry for entry in entries if not self._is_settled(entry)]
        written = [entry for entry in unsettled if entry.name not in self.staying]
        if written:
            self._wait_for(written[0])
            return
        self._waits_since = 0.0
        shown = [entry for entry in entries if entry not in unsettled and not _is_hidden(entry)]
        gathered = self.root / IMPORTING / _GATHERED
        if len(shown) == 1 and _is_manifest(shown[0]) and not gathered.exists():
            self._leave(shown[0], sentence=WAITS.format(name=shown[0].name))
            return
        gathered.mkdir(exist_ok=True)
        # Dropped again since a process before this one was killed here: it waits for the next batch.
        fresh = [entry for entry in shown if not os.path.lexists(gathered / entry.name)]
        manifests = list(filter(_is_manifest, fresh))
        for entry in manifests:
            self._take(entry, batch=gathered)
        # Where it cannot be moved, nothing is imported without it.
        if any(map(_is_manifest, gathered.iterdir())):
            for entry in fresh:
                if entry not in manifests:
                    self._take(entry, batch=gathered)
            gathered.rename(self._new_batch())
        else:
            gathered.rmdir()

    def _wait_for(self, entry: Path) -> None:
        """Told once where it takes long: what something writes again and again keeps all the rest waiting."""
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if now - self._waits_since > self.settle_seconds + _PATIENCE_SECONDS:
            self.tell(STILL_WRITTEN.format(name=entry.name))
            self._waits_since = math.inf

    def _take(self, entry: Path, *, batch: Path) -> None:
        """Who moves a folder elsewhere changes it, and must have the right to."""
        try:
            entry.rename(batch / entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(entry, sentence=STAYS.format(name=entry.name, why=error.strerror))
        else:
            self.staying.discard(entry.name)

    def _leave(self, entry: Path, *, sentence: str) -> None:
        if entry.name not in self.staying:
            self.staying.add(entry.name)
            self.tell(sentence)

    def _is_settled(self, entry: Path) -> bool:
        """Nobody looks into a hidden folder: it may be all snapshots of a file server."""
        try:
            below = entry.rglob("*") if _is_folder(entry) and not _is_hidden(entry) else ()
            changed = max(max(each.st_mtime, each.st_ctime) for each in (path.lstat() for path in (entry, *below)))
        except FileNotFoundError:
            return False
        except OSError as error:
            self._leave(entry, sentence=STAYS.format(name=entry.name, why=error.strerror))
            return False
        return time.time() - changed >= self.settle_seconds

    def _import(self, batch: Path, *, progress: jobs.Progress) -> Outcome | None:
        """None while another process works on it. Raises JobFailed where the import can be tried again."""
        source = _source_of(batch)
        try:
            with open_source(source, limits=ArchiveLimits()) as opened:
                paths = {member.name: member.found.path for member in opened.members}
        except ManifestRefused as error:
            return Outcome(batch=batch.name, refused=_all_of(batch, reason=f"{error.reason} {DROP_AGAIN}"))
        except FileRefused as error:
            if not ImportJob.objects.filter(source_path=str(source), status=JobStatus.DONE).exists():
                return Outcome(batch=batch.name, refused=_all_of(batch, reason=error.reason))
            paths = {}  # all that was refused has been moved, and there was nothing else
        job = self._job(source)
        claimed = jobs.claim(ImportJob, job.pk)
        if claimed:
            with jobs.working_on(claimed):
                _import_into_archive(claimed, progress=progress)
            job.refresh_from_db()
        if not job.is_finished:
            return None
        if job.status == JobStatus.FAILED:
            raise jobs.JobFailed(job.reason)
        if job.status == JobStatus.CANCELLED:
            return Outcome(batch=batch.name, refused=_all_of(batch, reason=CANCELLED))
        refusals = dict(job.files.filter(status=ImportedFile.Status.REFUSED).values_list("name", "reason"))
        refused = {paths.get(name, name): reason for name, reason in refusals.items()}
        return Outcome(batch=batch.name, accepted=job.accepted, duplicates=job.duplicates, refused=refused)

    def _job(self, source: Path) -> ImportJob:
        """The last job of this batch, or a new one where there is none or it failed. Raises DatasetGone."""
        last = ImportJob.objects.filter(source_path=str(source)).order_by("pk").last()
        if last and last.status != JobStatus.FAILED:
            return last
        try:
            return ImportJob.objects.create(dataset=self.dataset, source_path=str(source))
        except IntegrityError as error:
            raise DatasetGone from error

    def _move(self, batch: Path, *, refused: dict[str, str]) -> None:
        """The refused files with their reasons to one side, the rest to the other."""
        done, aside = self.root / DONE / batch.name, self.root / REFUSED / batch.name
        if refused:
            self._write_reasons(batch.name, refused=refused)
            if refused.keys() == {entry.name for entry in batch.iterdir()} and not aside.exists():
                # In one step: what an interruption left here would be imported, without its manifest.
                batch.rename(aside)
            else:
                aside.mkdir(exist_ok=True)
                self._put_reasons()
                self._move_refused(batch, refused=refused)
            self._put_reasons()
        if not any(path.is_symlink() or not path.is_dir() for path in batch.rglob("*")):
            shutil.rmtree(batch, ignore_errors=True)  # nothing but empty folders
        if batch.exists():
            batch.rename(done)

    def _move_refused(self, batch: Path, *, refused: dict[str, str]) -> None:
        aside = self.root / REFUSED / batch.name
        # Names that lead out of an archive are refused with it, and name no file of this batch.
        own = [path for path in refused if ".." not in Path(path).parts]
        stay = {path for path in own if not _moved(batch / path, to=aside / path)}
        is_in_done = IS_IN_DONE.format(done=f"{DONE}/{batch.name}")
        told = {path: f"{why} {is_in_done}" if path in stay else why for path, why in refused.items()}
        self._write_reasons(batch.name, refused=told)

    def _write_reasons(self, batch: str, *, refused: dict[str, str]) -> None:
        """Before anything moves, so that an interruption loses none."""
        lines = "".join(f"{path}: {why}\n" for path, why in refused.items())
        (self.root / REFUSED / f".{batch}.{REASONS}").write_text(lines, errors="replace")

    def _put_reasons(self) -> None:
        """Beside what was refused, where that has been moved."""
        for written in (self.root / REFUSED).glob(f".*.{REASONS}"):
            aside = written.with_name(written.name.removeprefix(".").removesuffix(f".{REASONS}"))
            if aside.is_dir():
                written.rename(aside / REASONS)


def _import_into_archive(claimed: ImportJob, *, progress: jobs.Progress) -> None:
    """A source that cannot be read is refused: what else goes wrong with files is no fault of this folder."""
    try:
        import_dataset(claimed, index_afterwards=True, progress=progress)
    except OSError as error:
        raise jobs.JobFailed(ARCHIVE_UNUSABLE) from error


def _moved(path: Path, *, to: Path) -> bool:
    """False where it cannot be: the folder that it lies in may be somebody else's."""
    # A member of an archive has no file of its own: the archive stays whole.
    if not os.path.lexists(path):
        return True
    to.parent.mkdir(parents=True, exist_ok=True)
    # A file of the name of the reasons must not take their place.
    if os.path.lexists(to):
        return False
    try:
        path.rename(to)
    except OSError:
        return False
    return True


def _is_hidden(entry: Path) -> bool:
    """Such names are of programs that still write, or of operating systems."""
    return entry.name.startswith(".")


def _is_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink()


def _is_zip(entry: Path) -> bool:
    return entry.suffix.lower() == ".zip" and not _is_folder(entry)


def _is_source(entry: Path) -> bool:
    return _is_zip(entry) or _is_folder(entry)


def _is_manifest(entry: Path) -> bool:
    return entry.name.lower() == MANIFEST and entry.is_file() and not entry.is_symlink()


def _source_of(batch: Path) -> Path:
    """The zip that the batch is, or the folder that it lies in: its folders are the labels."""
    entries = list(batch.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].suffix.lower() == ".zip" else batch


def _all_of(batch: Path, *, reason: str) -> dict[str, str]:
    return {entry.name: reason for entry in sorted(batch.iterdir())}
