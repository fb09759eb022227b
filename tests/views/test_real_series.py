"""Real series, zipped as they are sent: each is one tile, and is walked through in the order of instance numbers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pydicom import dcmread

from retrieval.models import Dataset, ImportJob
from retrieval.services import jobs
from retrieval.services.importing import import_dataset
from tests.imaging.zips import zipped

pytestmark = [pytest.mark.real, pytest.mark.django_db]


@pytest.mark.parametrize(
    ("name", "modality", "sizes"),
    # The files of the brain are of two series: axial and sagittal.
    [("ct_abdomen", "CT", [20]), ("mr_brain", "MRI", [7, 17]), ("pet_wb_QIN-HEADNECK", "PET", [100])],
)
def test_a_real_series_is_one_row(
    logged_in: Callable[..., Client], real_data: Path, tmp_path: Path, name: str, modality: str, sizes: list[int]
) -> None:
    files = sorted((real_data / "dicom_series" / name).iterdir())
    numbers: dict[str, list[int]] = {}
    for path in files:
        header = dcmread(path, stop_before_pixels=True)
        numbers.setdefault(header.SeriesInstanceUID, []).append(int(header.InstanceNumber))
    assert sorted(map(len, numbers.values())) == sizes
    assert all(each != sorted(each) for each in numbers.values())
    path = zipped(tmp_path / "sent.zip", *((f"{name}/{path.name}", path.read_bytes()) for path in files))
    dataset = Dataset.objects.create(name="Sent")
    job = jobs.claim(ImportJob, ImportJob.objects.create(dataset=dataset, source_path=str(path)).pk)
    assert job is not None
    import_dataset(job, index_afterwards=False)

    client = logged_in("clinician")
    page = client.get(dataset.get_absolute_url()).content.decode()
    tiles = re.findall(r'<a class="tile tile-stack" href="([^"]+)">(.*?)</a>', page, flags=re.DOTALL)
    assert len(re.findall(r'<a class="tile', page)) == len(tiles) == len(sizes)
    by_address = {image.get_absolute_url(): image.instance_number for image in dataset.images.all()}
    walked = []
    for address, tile in tiles:
        series = client.get(address).content.decode()
        walked.append([by_address[each] for each in re.findall(r'data-image="([^"]+)"', series)])
        assert f"{name} {modality}" in _words(tile)
        assert f"{len(walked[-1])} images" in _words(tile)
        assert f"slice {len(walked[-1]) // 2 + 1} of {len(walked[-1])}" in _words(series)
    assert sorted(walked) == sorted(map(sorted, numbers.values()))


def _words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())
