"""What a fresh installation shows: people to log in as, a synthetic archive, and a model version to search it with.

Each step does nothing where its result exists, so a first start that was interrupted goes on where it was.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from retrieval.disk import write_private
from retrieval.models import Dataset, ImportJob, MedicalImage, ModelVersion
from retrieval.services import jobs
from retrieval.services.curation import release
from retrieval.services.importing import import_dataset
from retrieval.services.indexing import create_index_job
from retrieval.services.switching import activate_model_version
from retrieval.services.versions import create_model_version
from retrieval.storage import work_folder

ROLES = ("clinician", "staff", "admin")
SYNTHETIC = "Synthetic phantoms"
SAMPLES = "DICOM samples"
LOOKED_AT = "Comes with the program, and was looked at."
Say = Callable[[str], None]


def create_demo_logins() -> Path:
    """Make one person a role, with random passwords in a file that only its owner reads; never a second time."""
    path = settings.DATA_DIR / "demo-logins.json"
    people = get_user_model().objects
    if people.exists():
        return path
    logins = {role: {"username": role, "password": secrets.token_urlsafe(12)} for role in ROLES}
    # The file first: people whose passwords nobody knows would be of no use.
    write_private(path, json.dumps(logins, indent=2) + "\n")
    with transaction.atomic():
        for role, login in logins.items():
            person = people.create_user(**login, is_staff=role != "clinician")
            person.groups.add(Group.objects.get(name=role))
    return path


def create_demo_archive(*, say: Say) -> None:
    """Draw and import the synthetic archive and the DICOM samples, once: what was deleted since does not come back."""
    # The first start comes to its end with a version.
    if ModelVersion.objects.exists():
        return
    from retrieval.demo.archive import write_demo_archive
    from retrieval.demo.dicom_samples import write_dicom_samples

    phantoms = {
        "description": "Drawn by a program, to try the site with. Not for clinical use.",
        "source": "Phantom generator of this site",
        "is_synthetic": True,
    }
    _import_once(SYNTHETIC, write=write_demo_archive, about=phantoms, say=say)
    samples = {
        "description": "Test files of the pydicom project, and a synthetic CT series. Not for clinical use.",
        "source": "pydicom package",
        "licence": "See the pydicom project",
    }
    _import_once(SAMPLES, write=write_dicom_samples, about=samples, say=say)


def _import_once(name: str, *, write: Callable[[Path], int], about: Mapping[str, object], say: Say) -> None:
    done = ImportJob.objects.filter(dataset__name=name, status="done")
    if done.exists():
        # Of a first start that was interrupted after its import.
        _release_untouched(done.earliest("pk"))
        return
    say(f"Making the demo dataset “{name}” ...")
    dataset, _ = Dataset.objects.get_or_create(name=name, defaults=about)
    # Of a first start that was interrupted: their folders are gone.
    dataset.import_jobs.unfinished().delete()
    with work_folder() as folder:
        write(folder)
        job = jobs.claim(ImportJob, ImportJob.objects.create(dataset=dataset, source_path=str(folder)).pk)
        if job:
            with jobs.working_on(job):
                import_dataset(job, index_afterwards=False)
                _release_untouched(job)
            say(f"  {job.reason or f'{job.accepted} files imported.'}")


def _release_untouched(job: ImportJob) -> None:
    """Show what the import held, except images that a person has decided about."""
    held = MedicalImage.objects.held().filter(import_job=job, changes=None)
    release(held, user=None, note=LOOKED_AT)


def create_first_version(*, architecture: str, weights: str, say: Say) -> None:
    """Put a model version into service where there is none: with ImageNet weights where they can be had."""
    from retrieval.network.errors import WeightsUnavailable

    if ModelVersion.objects.active():
        return
    say(f"Making the first model version ({architecture} network, weights: {weights}) ...")
    try:
        version = create_model_version(architecture=architecture, weights=weights)
    except WeightsUnavailable as error:
        say(f"  {error.reason} Starting with an untrained network instead.")
        version = create_model_version(architecture=architecture, weights="none")
    with transaction.atomic():
        activate_model_version(version)
        create_index_job(version=version, publish=True)
    say(f"  {version.weights_report} Workers index the archive now.")
