"""Answering a query: decode, embed, find the nearest images, keep the answer."""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.db import DatabaseError, IntegrityError, transaction

from retrieval.imaging import Decoder, FileRefused, Rendering
from retrieval.models import Embedding, MedicalImage, ModelVersion, Query, SearchResult
from retrieval.services import jobs, naming, space
from retrieval.services.modalities import modality_name
from retrieval.services.versions import NoActiveVersion, VersionRetired, active_version, load_embedder, refuse_retired
from retrieval.storage import NO_SPACE

if TYPE_CHECKING:
    import numpy as np

TOP_K = 20
# Each but the first is for images that were taken away within the milliseconds since the one before.
RANKINGS = 10
GONE = "The image that this question was asked with is no longer there. Choose it once more."
NOT_SHOWN = "The image that this question was asked with is not shown any more. Choose another one."
EMPTY_TO_THE_NETWORK = "The network sees nothing in this image: it may be blank. Choose an image that shows anatomy."


@dataclass(frozen=True)
class SearchFilter:
    """Narrows a search; an empty string does not."""

    dataset: str = ""
    modality: str = ""
    label: str = ""

    def conditions(self) -> dict[str, str]:
        wanted = {
            "image__dataset__name": self.dataset,
            "image__modality": modality_name(self.modality),
            "image__label": self.label,
        }
        return {lookup: value for lookup, value in wanted.items() if value}


@dataclass(frozen=True)
class Neighbour:
    rank: int
    # None in an old answer whose image has been deleted since.
    image: MedicalImage | None
    distance: float

    @property
    def similarity(self) -> float:
        return 1 - self.distance


def find_neighbours(
    vector: "Sequence[float] | np.ndarray",
    *,
    version: ModelVersion,
    k: int = TOP_K,
    narrowed: SearchFilter = SearchFilter(),
    asked_pk: int | None = None,
) -> list[Neighbour]:
    """The k images nearest to an L2-normalised vector, exactly, nearest first; of equal ones that which was asked with.

    Two queries: the first sorts narrow rows of (image, distance), the second fetches the k images it names. Raises
    VersionRetired. No image that is held or excluded can come back: such an image has no embedding.
    """
    ranked = Embedding.objects.of(version).filter(**narrowed.conditions()).nearest(vector)
    shown = MedicalImage.objects.shown().select_related("dataset", "original")
    for _ in range(RANKINGS):
        nearest = list(ranked.values_list("image_id", "distance")[:k])  # type: ignore[misc]
        # Afterwards: a version that is being retired loses its rows bit by bit.
        refuse_retired(version)
        images = shown.in_bulk([pk for pk, _ in nearest])
        # What was taken away between the two leaves its place to the next, which only a new ranking names.
        if len(images) == len(nearest):
            break
    there = [(pk, distance) for pk, distance in nearest if pk in images]
    there.sort(key=lambda found: (found[1], found[0] != asked_pk))
    return [
        Neighbour(rank=rank, image=images[pk], distance=distance) for rank, (pk, distance) in enumerate(there, start=1)
    ]


def ask_with_upload(*, user: User, upload: File) -> Query:
    """Store the file, commit the query, then queue it: what was accepted is never lost.

    Raises OSError for a full disk.
    """
    space.refuse_full(Path(settings.MEDIA_ROOT), size=upload.size)
    query = Query(user=user)
    query.upload.save(naming.query_upload_name(query.uuid), upload, save=False)
    try:
        with transaction.atomic():
            query.save()
            jobs.enqueue(query)
    except DatabaseError:
        # Nobody was promised an answer, and a patient's file must not stay behind.
        query.upload.delete(save=False)
        raise
    return query


def ask_again(query: Query) -> Query:
    """Ask the same question anew, with whatever model version is active now. Raises FileRefused when it is gone."""
    if query.image:
        _refuse_hidden(query.image)
        return ask_with_image(user=query.user, image=query.image)
    if not query.preview:
        return _hand_upload_on(query)
    try:
        with query.preview.open("rb") as kept:
            return ask_with_upload(user=query.user, upload=kept)
    except FileNotFoundError as error:
        raise FileRefused(GONE) from error


def _hand_upload_on(failed: Query) -> Query:
    """The query that has the file of a failed one from now on: no second copy of a patient's file is made.

    It is the same one however often it is asked for: the button may be pressed twice.
    """
    with transaction.atomic():
        # Who presses at the same moment waits here. An unfinished query still needs its file itself.
        failed = Query.objects.select_for_update().get(pk=failed.pk)
        following = uuid.uuid5(failed.uuid, "again")
        known = Query.objects.filter(uuid=following).first()
        if known:
            return known
        # No name: an answer to "more like this" whose image has been deleted since, or it was forgotten by now.
        name = failed.upload.name
        if not name or not failed.upload.storage.exists(name) or not failed.is_finished:
            raise FileRefused(GONE)
        again = Query.objects.create(uuid=following, user=failed.user, upload=name)
        failed.upload = ""
        failed.save(update_fields=["upload"])
        jobs.enqueue(again)
    return again


def _refuse_hidden(image: MedicalImage) -> None:
    if not image.is_shown:
        raise FileRefused(NOT_SHOWN)


def ask_with_image(*, user: User, image: MedicalImage) -> Query:
    """ "More like this": ask with an image of the archive that is shown. Raises FileRefused where it goes just now."""
    try:
        with transaction.atomic():
            query = Query.objects.create(user=user, image=image)
            jobs.enqueue(query)
    except IntegrityError as error:
        raise FileRefused(GONE) from error
    return query


@cache
def query_decoder() -> Decoder:
    """The decoding process of this worker, kept warm between queries."""
    return Decoder()


def answer_query(query: Query) -> None:
    """Answer a claimed query. A refused file fails it, with the reason on its page; without a model it waits."""
    try:
        version = active_version()
        vector, milliseconds = _query_vector(query, version=version)
        started = time.perf_counter()
        neighbours = find_neighbours(vector, version=version, asked_pk=query.image_id)
        milliseconds["search_ms"] = _since(started)
    except VersionRetired:
        # Another version has been activated since, and answers it.
        answer_query(query)
        return
    except NoActiveVersion:
        jobs.put_back(query)
        return
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        # It waits until there is space for its picture.
        jobs.put_back(query)
        return
    except FileRefused as refused:
        with _forgetting_upload(query) as forgotten:
            jobs.fail(query, refused.reason, **forgotten)
        return
    try:
        with _forgetting_upload(query) as forgotten, transaction.atomic():
            # Images before questions, as a deletion takes them: else the two would wait for each other.
            rows = MedicalImage.objects.filter(pk__in=[found.image.pk for found in neighbours if found.image])
            list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))
            jobs.finish(query, model_version=version, vector=vector, **milliseconds, **forgotten)
            SearchResult.objects.bulk_create(
                SearchResult(query=query, rank=found.rank, image=found.image, distance=found.distance)
                for found in neighbours
            )
    except IntegrityError:
        # One of them was deleted at this moment: the next is to be found in its place.
        query.refresh_from_db()
        answer_query(query)


def _query_vector(query: Query, *, version: ModelVersion) -> tuple[list[float], dict[str, float]]:
    if query.image_id:
        stored = Embedding.objects.of(version).filter(image=query.image_id).first()
        if stored:
            return stored.vector, {"decode_ms": 0.0, "embed_ms": 0.0}
    started = time.perf_counter()
    preview = _query_preview(query)
    decode_ms = _since(started)
    started = time.perf_counter()
    vector = embed_preview(preview, version=version).tolist()
    return vector, {"decode_ms": decode_ms, "embed_ms": _since(started)}


def _query_preview(query: Query) -> bytes:
    """The PNG that stands for the query, kept with it from now on: an attempt before this one may have made it."""
    if query.image:
        _refuse_hidden(query.image)
    kept = query.image.preview if query.image else query.preview
    try:
        if kept:
            with kept.open("rb") as file:
                return file.read()
        if not query.upload.name or not query.upload.storage.exists(query.upload.name):
            raise FileNotFoundError
    except FileNotFoundError as error:
        raise FileRefused(GONE) from error
    rendering = decode_query(Path(query.upload.path))
    query.preview.save(naming.query_preview_name(query.uuid), ContentFile(rendering.preview), save=False)
    with _forgetting_upload(query) as forgotten:
        jobs.beat(query, preview=query.preview.name, **forgotten)
    return rendering.preview


def is_unlike(neighbours: Sequence[Neighbour], *, version: ModelVersion | None, narrowed: SearchFilter) -> bool:
    """Whether the nearest image of an answer is less similar than what the version usually finds.

    A narrowed answer tells nothing of the archive.
    """
    usual = version.usual_similarity if version else None
    if usual is None or not neighbours or narrowed.conditions():
        return False
    return neighbours[0].similarity < usual


def decode_query(path: Path) -> Rendering:
    """The middle frame of the file: the first and the last of a series often show nothing."""
    [rendering] = query_decoder().render(path, frames="middle")
    return rendering


def warm_up() -> None:
    """Start the decoder and load the active network, so that the first query is as quick as the next."""
    query_decoder().start()
    version = ModelVersion.objects.active()
    if version:
        load_embedder(version.pk)


def embed_preview(preview: bytes, *, version: ModelVersion) -> "np.ndarray":
    """A preview as an L2-normalised vector, float32 (512,). Raises FileRefused where the network sees nothing."""
    vectors, refusals = next(iter(load_embedder(version.pk).embed_images([preview], batch_size=1)))
    if refusals:
        raise FileRefused(EMPTY_TO_THE_NETWORK)
    return vectors[0]


@contextmanager
def _forgetting_upload(query: Query) -> Iterator[dict[str, str]]:
    """Nothing of a patient's file is kept that nobody needs: the preview stands for it.

    Gives what the change of the row must say; once that is stored the file goes.
    """
    storage, name = query.upload.storage, query.upload.name
    yield {"upload": ""}
    if name:
        storage.delete(name)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
