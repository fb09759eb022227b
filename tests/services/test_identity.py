"""Marked strings are planted wherever a file has room for them. Nothing that the site keeps, says or shows has them.

Only what people name on purpose is kept as named: the dataset, its class folders, the folder or archive that is
imported, and for the report of an import the names of its files, by which alone its owner can find them again. That
report is one table and the pages of staff; what names a patient should not be written in the name of a file.
"""

import io
import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import Client
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from pytest_django import Settings
from redis import Redis

from retrieval.models import Dataset as Collection
from retrieval.models import ImportJob, MedicalImage, ModelVersion, Query, StoredFile
from retrieval.services.importing import create_import_job
from tests.imaging.files import dataset_of, ramp, saved, written
from tests.services.conftest import Answer, work_on_import

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
MARK = "ZMARKZ"
NAMED = "ZNAMEDZ"
# As a UID has no letters: digits that do not come up by chance.
MARKED_UID = "1.2.840.99.7777123456789"
SPELLINGS = [
    *(
        MARK.encode(),
        MARK.lower().encode(),
        MARK.encode("utf-16-le"),
        MARK.encode("utf-16-be"),
        MARK.encode().hex().encode(),
    ),
    b"7777123456789",
    NAMED.encode(),
]
# One attribute of every kind of text; the profile names some of them, others not.
TEXTS = {
    "AE": "RetrieveAETitle",
    "AS": "PatientAge",
    "CS": "ScanOptions",
    "DA": "StudyDate",
    "DS": "PatientWeight",
    "DT": "AcquisitionDateTime",
    "IS": "AcquisitionNumber",
    "LO": "Manufacturer",
    "LT": "ImageComments",
    "PN": "PatientName",
    "SH": "AccessionNumber",
    "ST": "InstitutionAddress",
    "TM": "StudyTime",
    "UC": "LongDeviceDescription",
    "UR": "RetrieveURL",
    "UT": "TextValue",
}
IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def _texts() -> Dataset:
    dataset = Dataset()
    for representation, keyword in TEXTS.items():
        dataset.add_new(keyword, representation if representation not in ("DS", "IS") else "LO", MARK)
    dataset.PatientID, dataset.OtherPatientIDs, dataset.PatientComments = MARK, [MARK, MARK], MARK
    for keyword in IDS:
        setattr(dataset, keyword, f"{MARKED_UID}.{len(keyword)}")
    for group in (0x0009, 0x0029):
        dataset.add_new((group, 0x0010), "LO", MARK)
        dataset.add_new((group, 0x1001), "UN", MARK.encode())
        dataset.add_new((group, 0x1002), "LT", MARK)
    dataset.add_new(0x00189999, "LO", MARK)  # an attribute that the standard does not know
    return dataset


def _dicom() -> bytes:
    dataset = dataset_of(ramp(), syntax=ExplicitVRLittleEndian)
    dataset.update(_texts())
    for sequence in ("RequestAttributesSequence", "SourceImageSequence", "AnatomicRegionSequence", "ContentSequence"):
        deeper = _texts()
        deeper.ReferencedImageSequence = Sequence([_texts()])
        setattr(dataset, sequence, Sequence([deeper]))
    dataset.add_new(0x60003000, "OW", MARK.encode() * 2)
    dataset.add_new(0x60004000, "LT", MARK)
    dataset.add_new(0xFFFCFFFC, "OB", MARK.encode())
    dataset.file_meta.SourceApplicationEntityTitle = MARK
    dataset.file_meta.PrivateInformationCreatorUID = MARKED_UID
    dataset.file_meta.PrivateInformation = MARK.encode()
    dataset.preamble = MARK.encode().ljust(128, b"\0")
    return written(dataset) + MARK.encode()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x013B, 0x8298):
        exif[tag] = MARK
    exif.get_ifd(0x8769)[0x9286] = MARK.encode()
    return exif


def _png() -> bytes:
    texts = PngImagePlugin.PngInfo()
    for add in (texts.add_text, texts.add_itxt):
        add("Patient", MARK)
    texts.add_text(MARK, MARK, zip=True)
    return saved(ramp(), pnginfo=texts, exif=_exif()) + MARK.encode()


def _jpeg() -> bytes:
    return saved(ramp(), "JPEG", exif=_exif(), comment=MARK.encode(), xmp=MARK.encode()) + MARK.encode()


def _tiff() -> bytes:
    return saved(ramp(), "TIFF", tiffinfo={0x010E: MARK, 0x013B: MARK, 700: MARK.encode(), 65000: MARK})


FILES: dict[str, Callable[[], bytes]] = {"dcm": _dicom, "png": _png, "jpg": _jpeg, "tif": _tiff}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "chest"
    folder.mkdir(parents=True)
    for kind, made in FILES.items():
        (folder / f"{NAMED}.{kind}").write_bytes(made())
    return folder.parent


def _found(content: bytes) -> bool:
    return any(spelling in content for spelling in SPELLINGS)


def _everything_on_disk(media: Path) -> bytes:
    """Names and contents, texts of PNG files unpacked as well: their chunks may be compressed."""
    parts = []
    for path in media.parent.rglob("*"):
        parts.append(str(path.relative_to(media.parent)).encode())
        if path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


def _dump() -> dict[str, bytes]:
    """Every row of every table, as text."""
    dumped = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            with cursor.cursor.copy(f'COPY "{table}" TO STDOUT') as rows:  # type: ignore[attr-defined]
                dumped[table] = b"".join(bytes(row) for row in rows)
    return dumped


def _queued(broker: Redis) -> bytes:
    messages: list[bytes] = []
    for key in broker.keys("*"):
        kind = broker.type(key)
        messages += [key, broker.dump(key) if kind != b"list" else b"".join(broker.lrange(key, 0, -1))]
    return b"".join(messages)


def _pages(client: Client) -> bytes:
    images = list(MedicalImage.objects.all())
    addresses = ["/", "/queries/", "/datasets/", Collection.objects.get().get_absolute_url()]
    for image in images:
        addresses += [
            image.get_absolute_url(),
            f"/images/{image.uuid}/preview.png",
            f"/images/{image.uuid}/thumbnail.jpg",
        ]
    addresses += [query.get_absolute_url() for query in Query.objects.all()]
    for model in ("dataset", "importjob", "medicalimage", "query"):
        addresses.append(f"/admin/retrieval/{model}/")
    content = b""
    for address in addresses:
        response = client.get(address)
        assert response.status_code in (200, 403, 404), address
        content += str(response.headers).encode() + b"".join(response)
    return content


def test_the_planted_files_do_have_the_marks(planted: Path) -> None:
    for path in planted.rglob("*.*"):
        assert _found(path.read_bytes()), path.suffix


def test_what_identifies_a_patient_stays_nowhere(
    planted: Path,
    media: Path,
    broker: Redis,
    active_version: ModelVersion,
    asked: Callable[[bytes], Query],
    answer: Answer,
    logged_in: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    job = create_import_job(dataset=Collection.objects.create(name="planted"), source=planted)
    queued = _queued(broker)
    job = work_on_import(job)
    assert (job.accepted, job.refused) == (len(FILES), 0)
    said = io.StringIO()
    call_command("index", stdout=said, stderr=said)
    queries = [asked(path.read_bytes()) for path in sorted(planted.rglob("*.*"))]
    queued += _queued(broker)
    for query in queries:
        assert answer(query).reason == ""
    call_command("search", next(planted.rglob("*.dcm")), "--json", stdout=said)
    call_command("check_archive", stdout=said, stderr=said)
    assert "NOT ok" not in said.getvalue()
    assert len(queued) > 100
    kept = {
        "disk": _everything_on_disk(media),
        **_dump(),
        "queue": queued,
        "pages": _pages(logged_in("admin")),
        "log": caplog.text.encode(),
        "output": said.getvalue().encode(),
    }
    report = kept.pop("retrieval_importedfile")
    assert NAMED.encode() in report
    assert not _found(report.replace(NAMED.encode(), b""))
    assert {name for name, content in kept.items() if _found(content)} == set()


def test_series_stay_together_across_imports_and_their_uids_are_mapped(planted: Path, tmp_path: Path) -> None:
    other = dataset_of(ramp(high=200), InstanceNumber=2)
    other.update(_texts())
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "2.dcm").write_bytes(written(other))
    for source in (planted, tmp_path / "later"):
        job = ImportJob.objects.create(
            dataset=Collection.objects.get_or_create(name="one")[0], source_path=str(source.resolve())
        )
        work_on_import(job)
    first, second = MedicalImage.objects.exclude(patient_key="")
    for field in ("patient_key", "study_instance_uid", "series_instance_uid"):
        assert getattr(first, field) == getattr(second, field)
    assert first.study_instance_uid.startswith("2.25.")
    assert first.original.is_deidentified


PLACEHOLDERS = [
    *("ANONYMOUS", "Anonymized", "anon", "DE-IDENTIFIED", "Unknown", "none", "N/A", "NA", "TEST", "No ID"),
    *("0", "000000", "000-00-0000", "XXXX", "x", "^^", "---"),
]
PATIENTS = ["ANON135059063150", "0010", "12345678", "XX-1", "Anonymous2", "Nathan", "TEST01"]


def _imported(folder: Path) -> dict[str, str]:
    """Import the folder; label -> patient key."""
    job = ImportJob.objects.create(dataset=Collection.objects.create(name="one"), source_path=str(folder))
    assert work_on_import(job).refused == 0
    return dict(MedicalImage.objects.values_list("label", "patient_key"))


def test_what_anonymisers_write_for_an_identifier_is_no_patient(tmp_path: Path) -> None:
    for number, identifier in enumerate([*PLACEHOLDERS, *PATIENTS]):
        (tmp_path / str(number)).mkdir()
        content = written(dataset_of(ramp(high=100 + number), PatientID=identifier))
        (tmp_path / str(number) / "1.dcm").write_bytes(content)
    keys = _imported(tmp_path)
    assert {key for label, key in keys.items() if int(label) < len(PLACEHOLDERS)} == {""}
    known = {key for label, key in keys.items() if int(label) >= len(PLACEHOLDERS)}
    assert len(known) == len(PATIENTS)
    assert "" not in known


def test_a_manifest_may_number_its_patients_from_0_on(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(written(dataset_of(ramp(), PatientID="ANONYMOUS")))
    (tmp_path / "manifest.csv").write_text("file,class,patient_group\na.dcm,a,0\n")
    assert _imported(tmp_path)["a"]


def test_the_uids_of_what_is_there_already_are_mapped_by_the_migration(planted: Path) -> None:
    dataset = Collection.objects.create(name="one")
    work_on_import(ImportJob.objects.create(dataset=dataset, source_path=str(planted)))
    fields = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
    mapped = list(MedicalImage.objects.order_by("pk").values_list(*fields))
    of_dicom = MedicalImage.objects.exclude(patient_key="")
    of_dicom.update(**{field: f"{MARKED_UID}.{len(keyword)}" for field, keyword in zip(fields, IDS, strict=False)})
    import_module("retrieval.migrations.0008_deidentified_originals").map_uids(apps, None)
    assert list(MedicalImage.objects.order_by("pk").values_list(*fields)) == mapped


def test_originals_are_kept_as_they_are_where_the_installation_says_so(
    planted: Path, settings: Settings, media: Path
) -> None:
    settings.DEIDENTIFY_ORIGINALS = False
    dataset = Collection.objects.create(name="one")
    work_on_import(ImportJob.objects.create(dataset=dataset, source_path=str(planted)))
    for stored in StoredFile.objects.all():
        assert _found(Path(stored.file.path).read_bytes())
        assert stored.stored_sha256 == stored.sha256
        assert not stored.is_deidentified
    # What was stored as it came stays so, whoever imports it again under another setting; nothing is left over.
    settings.DEIDENTIFY_ORIGINALS = True
    again = work_on_import(
        ImportJob.objects.create(dataset=Collection.objects.create(name="two"), source_path=str(planted))
    )
    assert again.accepted == len(FILES)
    assert StoredFile.objects.count() == len(FILES)
    call_command("check_archive", stdout=(said := io.StringIO()))
    assert "NOT ok" not in said.getvalue()
