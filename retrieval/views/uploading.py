"""Uploads in pieces: the tus protocol 1.0.0 (tus.io) with its extensions creation, creation-with-upload and
termination."""

import base64
import binascii
from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import ObjectDoesNotExist
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from retrieval.models import ImportJob, Upload, UploadedFile
from retrieval.services import uploading
from retrieval.services.uploading import UploadOver, UploadRefused
from retrieval.storage import NO_SPACE
from retrieval.views.numbers import number_in

TUS = "1.0.0"
PIECE = "application/offset+octet-stream"
DISK_FULL = "The disk of the site is full: an administrator has to free some space."
GONE = "This is no longer there."
LOCKED = "The piece before this one is still being written."
View = Callable[..., HttpResponse]


may_upload = permission_required("retrieval.add_importjob", raise_exception=True)


def speaks_tus(view: View) -> View:
    """Answer in the protocol; what cannot be taken is a sentence, and a full disk is no fault of the site."""

    @wraps(view)
    def answered(request: HttpRequest, *arguments: object, **named: object) -> HttpResponse:
        try:
            response = view(request, *arguments, **named)
        except UploadRefused as refused:
            response = _plain(str(refused), status=410 if isinstance(refused, UploadOver) else 400)
        except (ObjectDoesNotExist, FileNotFoundError):
            # Deleted between two statements; or killed while a file was given up, before its row went.
            response = _plain(GONE, status=404)
        except OperationalError:
            # The connection before this one broke, and the site has not noticed yet.
            response = _plain(LOCKED, status=423)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            response = _plain(DISK_FULL, status=507)
        response["Tus-Resumable"] = TUS
        response["Cache-Control"] = "no-store"
        return response

    return answered


@require_GET
@may_upload
@speaks_tus
def upload_detail(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """What is here already: {path: [address, size, received]}; and where the imports are, once it is finished."""
    upload = get_object_or_404(Upload, uuid=uuid, created_by=request.user)
    if upload.finished_at:
        return JsonResponse({"files": {}, "finished": _watched(upload, jobs=list(upload.import_jobs.all()))})
    uploading.refuse_over(upload)
    files = upload.files.values_list("path", "uuid", "size", "received")
    # To ask for the address of each would take most of the time.
    below = reverse("uploaded_files", args=[upload.uuid])
    here = {path: [f"{below}{file}/", size, received] for path, file, size, received in files}
    return JsonResponse({"files": here, "finished": None})


@require_http_methods(["OPTIONS", "POST"])
@may_upload
@speaks_tus
def uploaded_files(request: HttpRequest, uuid: UUID) -> HttpResponse:
    if request.method == "OPTIONS":
        headers = {
            "Tus-Version": TUS,
            "Tus-Extension": "creation,creation-with-upload,termination",
            "Tus-Max-Size": str(settings.UPLOAD_MAX_BYTES),
        }
        return HttpResponse(status=204, headers=headers)
    upload = _own_upload(request, uuid)
    size = _number(request, "Upload-Length")
    path = _metadata(request.headers.get("Upload-Metadata", "")).get("path", "")
    file = uploading.add_file(upload, path=path, size=size)
    if request.content_type == PIECE:
        with transaction.atomic():
            file = _locked(upload, file.uuid)
            full = _append(request, known=file)
        if full:
            return full
    headers = {"Location": _address(upload, file.uuid), "Upload-Offset": str(file.received)}
    return HttpResponse(status=201, headers=headers)


@require_http_methods(["HEAD", "PATCH", "DELETE"])
@may_upload
@speaks_tus
def uploaded_file(request: HttpRequest, uuid: UUID, file: UUID) -> HttpResponse:
    upload = _own_upload(request, uuid)
    if request.method == "HEAD":
        known = get_object_or_404(upload.files, uuid=file)
        headers = {"Upload-Offset": str(known.received), "Upload-Length": str(known.size)}
        return HttpResponse(headers=headers)
    if request.method == "DELETE":
        with transaction.atomic():
            uploading.remove_file(_locked(upload, file))
        return HttpResponse(status=204)
    if request.content_type != PIECE:
        return _plain(f"A piece of a file is sent as {PIECE}.", status=415)
    offset = _number(request, "Upload-Offset")
    with transaction.atomic():
        known = _locked(upload, file)
        if offset != known.received:
            return _plain("The file has another length by now.", status=409)
        full = _append(request, known=known)
    return full or HttpResponse(status=204, headers={"Upload-Offset": str(known.received)})


def _locked(upload: Upload, file: UUID) -> UploadedFile:
    """The row, for this transaction alone. Raises OperationalError while another one has it."""
    rows = UploadedFile.objects.select_for_update(of=("self",), nowait=True).select_related("upload")
    return get_object_or_404(rows, upload=upload, uuid=file)


def _append(request: HttpRequest, *, known: UploadedFile) -> HttpResponse | None:
    """None, or the answer for a full disk: what was written is kept, so the transaction must not fail."""
    try:
        uploading.append(known, stream=request)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        return _plain(DISK_FULL, status=507)
    return None


@require_POST
@may_upload
@speaks_tus
def upload_finish(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Queue the imports; the answer says where they can be watched."""
    upload = get_object_or_404(Upload, uuid=uuid, created_by=request.user)
    return JsonResponse({"address": _watched(upload, jobs=uploading.finish_upload(upload))}, status=201)


def _watched(upload: Upload, *, jobs: list[ImportJob]) -> str:
    """The page of the import, or of the dataset where there are several."""
    return (jobs[0] if len(jobs) == 1 else upload.dataset).get_absolute_url()


@require_POST
@may_upload
@speaks_tus
def upload_discard(request: HttpRequest, uuid: UUID) -> HttpResponse:
    uploading.discard_upload(_own_upload(request, uuid))
    return HttpResponse(status=204)


def _own_upload(request: HttpRequest, uuid: UUID) -> Upload:
    """Raises UploadOver where nothing can be sent into it any more."""
    upload = get_object_or_404(Upload.objects.select_related("dataset"), uuid=uuid, created_by=request.user)
    uploading.refuse_over(upload)
    return upload


def _address(upload: Upload, file: UUID) -> str:
    return reverse("uploaded_file", args=[upload.uuid, file])


def _number(request: HttpRequest, name: str) -> int:
    number = number_in(request.headers.get(name, ""))
    if number is None:
        raise UploadRefused(f"{name} is missing, or is no number of bytes.")
    return number


def _metadata(header: str) -> dict[str, str]:
    """Pairs of a name and a value in base64, between commas."""
    pairs = (pair.strip().partition(" ") for pair in header.split(","))
    try:
        return {name: base64.b64decode(value, validate=True).decode() for name, _, value in pairs if name}
    except (binascii.Error, UnicodeDecodeError) as error:
        raise UploadRefused(uploading.NO_PATH) from error


def _plain(text: str, *, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
