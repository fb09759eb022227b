"""An import: live while it works, what became of each file, and what can be done about it."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from retrieval.models import ImportedFile, ImportJob, Job, JobStatus
from retrieval.services.importing import SourceGone, has_source, retry_import
from retrieval.services.jobs import cancel

PAGE = 50
# A worker that is free takes a job within a second.
WORKER_LATE_SECONDS = 5
LEFT_BEHIND = "An operating system leaves this behind: it is no image."
REPORT_HEAD = ("file", "outcome", "reason", "image")
# Without it Excel takes the text for that of an old Windows.
BOM = "\ufeff"
# A spreadsheet takes a cell that begins like this for a formula, and would compute it.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

may_see_imports = permission_required("retrieval.view_importjob", raise_exception=True)


@require_GET
@may_see_imports
def import_detail(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(ImportJob.objects.select_related("dataset", "upload"), pk=pk)
    context = {"job": job, "is_late": is_late(job), "interruptions": job.attempts - 1}
    if not request.htmx:  # type: ignore[attr-defined]
        return render(request, "retrieval/import_detail.html", {**context, **_outcome(request, job=job)})
    # Its files are listed with the end of an import: the page is read anew.
    if job.is_finished:
        return HttpResponseClientRefresh()
    return render(request, "retrieval/_import_state.html", context)


def is_late(job: Job) -> bool:
    """Whether it waits for a worker for longer than it would if one were free."""
    return job.status == JobStatus.QUEUED and job.age_seconds > WORKER_LATE_SECONDS


def _outcome(request: HttpRequest, *, job: ImportJob) -> dict[str, Any]:
    shown = request.GET.get("show")
    if shown not in ImportedFile.Status.values:
        # What went wrong first; where nothing did, the pictures.
        shown = ImportedFile.Status.REFUSED if job.refused else ImportedFile.Status.STORED
    files = job.files.filter(status=shown).select_related("image")
    skipped = job.files.filter(status=ImportedFile.Status.SKIPPED).count()
    return {
        "shown": shown,
        "left_behind": LEFT_BEHIND,
        "page": Paginator(files, PAGE).get_page(request.GET.get("page")),
        "counts": [
            (ImportedFile.Status.REFUSED, job.refused),
            (ImportedFile.Status.DUPLICATE, job.duplicates),
            (ImportedFile.Status.STORED, job.accepted),
            *([(ImportedFile.Status.SKIPPED, skipped)] if skipped else []),
        ],
        # Imports from before every file had a row.
        "lists_refused_only": job.is_finished and job.files.count() < job.done,
        "is_incomplete": job.status in (JobStatus.FAILED, JobStatus.CANCELLED) or job.refused > 0,
        "has_source": has_source(job),
        "held_count": job.images.held().count(),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(["retrieval.view_importjob", "retrieval.change_importjob"], raise_exception=True)
def import_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(ImportJob.objects.select_related("dataset"), pk=pk)
    if request.method != "POST" and not job.is_finished:
        return render(request, "retrieval/import_cancel.html", {"job": job})
    if request.method == "POST":
        cancel(job)
        job.refresh_from_db()
    if job.status not in (JobStatus.CANCELLED, JobStatus.RUNNING):
        messages.info(request, "The import had ended before it could be cancelled.")
    return redirect(job)


@require_POST
@permission_required(["retrieval.view_importjob", "retrieval.add_importjob"], raise_exception=True)
def import_retry(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(ImportJob, pk=pk)
    if not job.is_finished:
        return redirect(job)
    try:
        return redirect(retry_import(job))
    except SourceGone as gone:
        messages.error(request, str(gone))
        return redirect(job)


class _Line:
    """What csv writes to: the line itself is wanted."""

    def write(self, line: str) -> str:
        return line


@require_GET
@may_see_imports
def import_report(request: HttpRequest, pk: int) -> StreamingHttpResponse:  # noqa: ARG001
    job = get_object_or_404(ImportJob.objects.select_related("upload"), pk=pk)
    return StreamingHttpResponse(
        _report_lines(job),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="import-{job.pk}.csv"', "Cache-Control": "no-store"},
    )


def _report_lines(job: ImportJob) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield BOM + writer.writerow(REPORT_HEAD)
    # What became of the whole comes first: a failed import may have no file to tell of.
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        yield writer.writerow([harmless(job.named), f"import {job.status}", job.reason, ""])
    for note in job.notes:
        yield writer.writerow([harmless(job.named), "note", harmless(note), ""])
    rows = job.files.values_list("name", "status", "reason", "image__uuid")
    for name, status, reason, uuid in rows.iterator():
        reason = LEFT_BEHIND if status == ImportedFile.Status.SKIPPED else reason
        yield writer.writerow([harmless(name), status, harmless(reason), uuid or ""])


def harmless(cell: str) -> str:
    """The cell for a spreadsheet: what would be a formula becomes text."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
