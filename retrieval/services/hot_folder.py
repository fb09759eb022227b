"""A folder that scanners and scripts drop files into: imported, then moved to `done` or `refused` below it.

What has lain still for a while is moved to `importing`, in a batch of its own: a zip, a folder, or the loose files. All
moves are renames, and the import job's row says how far a batch has come, so that whatever is interrupted is gone on
with. Nothing is deleted.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from retrieval.imaging import ArchiveLimits, FileRefused, ManifestRefused, open_source
from retrieval.models import Dataset, ImportedFile, ImportJob, JobStatus
from retrieval.services import jobs
from retrieval.services.importing import import_dataset

IMPORTING, DONE, REFUSED = "importing", "done", "refused"
REASONS = "reasons.txt"
CANCELLED = "The import was cancelled."
DROP_AGAIN = "Nothing was imported: correct it, and drop all of it again."
STAYS = (
    "{name} stays where it is and is not imported, since it cannot be moved: {why}. Let the user that runs this "
    "command write to it, or drop a zip of it instead."
)
IS_IN_DONE = "It could not be moved here and is in `{done}`."
# Loose files of one batch: an import finds out within minutes what became of them.
_MOST_LOOSE = 1000


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
        for name in (IMPORTING, DONE, REFUSED):
            (self.root / name).mkdir(exist_ok=True)

    def work(self, *, progress: jobs.Progress = jobs.silent) -> Iterator[Outcome]:
        """Import everything that lies there complete, what was interrupted first. Raises JobFailed."""
        self._take_settled()
        for batch in sorted((self.root / IMPORTING).iterdir()):
            outcome = self._import(batch, progress=progress)
            if outcome:
                self._move(batch, refused=outcome.refused)
                yield outcome

    def _take_settled(self) -> None:
        entries = sorted(self.root.iterdir())
        # What somebody took away and drops again is told of again.
        self.staying &= {entry.name for entry in entries}
        settled = [entry for entry in entries if self._is_settled(entry)]
        loose = [entry for entry in settled if not _is_source(entry)]
        groups = [[entry] for entry in settled if _is_source(entry)]
        groups += [loose[start : start + _MOST_LOOSE] for start in range(0, len(loose), _MOST_LOOSE)]
        for group in groups:
            batch = self.root / IMPORTING / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
            batch.mkdir()
            for entry in group:
                self._take(entry, batch=batch)
            if not any(batch.iterdir()):
                batch.rmdir()

    def _take(self, entry: Path, *, batch: Path) -> None:
        """Who moves a folder elsewhere changes it, and must have the right to."""
        try:
            entry.rename(batch / entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(entry, error=error)
        else:
            self.staying.discard(entry.name)

    def _leave(self, entry: Path, *, error: OSError) -> None:
        if entry.name not in self.staying:
            self.staying.add(entry.name)
            self.tell(STAYS.format(name=entry.name, why=error.strerror))

    def _is_settled(self, entry: Path) -> bool:
        """Hidden names are of programs that still write, or of operating systems."""
        if entry.name in (IMPORTING, DONE, REFUSED) or entry.name.startswith("."):
            return False
        try:
            below = entry.rglob("*") if entry.is_dir() and not entry.is_symlink() else ()
            changed = max(max(each.st_mtime, each.st_ctime) for each in (path.lstat() for path in (entry, *below)))
        except FileNotFoundError:
            return False
        except OSError as error:
            self._leave(entry, error=error)
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
            return Outcome(batch=batch.name, refused=_all_of(batch, reason=error.reason))
        job = self._job(source)
        claimed = jobs.claim(ImportJob, job.pk)
        if claimed:
            with jobs.working_on(claimed):
                import_dataset(claimed, index_afterwards=True, progress=progress)
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
        """The last job of this batch, or a new one where there is none or it failed."""
        last = ImportJob.objects.filter(source_path=str(source)).order_by("pk").last()
        if last is None or last.status == JobStatus.FAILED:
            return ImportJob.objects.create(dataset=self.dataset, source_path=str(source))
        return last

    def _move(self, batch: Path, *, refused: dict[str, str]) -> None:
        """The refused files with their reasons to one side, the rest to the other."""
        done, aside = self.root / DONE / batch.name, self.root / REFUSED / batch.name
        if refused:
            aside.mkdir(exist_ok=True)
            is_in_done = IS_IN_DONE.format(done=done.relative_to(self.root))
            # Names that lead out of an archive are refused with it, and name no file of this batch.
            own = [path for path in refused if ".." not in Path(path).parts]
            stay = {path for path in own if not _moved(batch / path, to=aside / path)}
            lines = [f"{path}: {why} {is_in_done if path in stay else ''}".rstrip() for path, why in refused.items()]
            (aside / REASONS).write_text("".join(f"{line}\n" for line in lines), errors="replace")
        if not any(path.is_symlink() or not path.is_dir() for path in batch.rglob("*")):
            shutil.rmtree(batch, ignore_errors=True)  # nothing but empty folders
        if batch.exists():
            batch.rename(done)


def _moved(path: Path, *, to: Path) -> bool:
    """False where it cannot be: the folder that it lies in may be somebody else's."""
    # A member of an archive has no file of its own: the archive stays whole.
    if not os.path.lexists(path):
        return True
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(to)
    except OSError:
        return False
    return True


def _is_source(entry: Path) -> bool:
    return entry.suffix.lower() == ".zip" or (entry.is_dir() and not entry.is_symlink())


def _source_of(batch: Path) -> Path:
    """The zip that the batch is, or the folder that it lies in: its folders are the labels."""
    entries = list(batch.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].suffix.lower() == ".zip" else batch


def _all_of(batch: Path, *, reason: str) -> dict[str, str]:
    return {entry.name: reason for entry in sorted(batch.iterdir())}
