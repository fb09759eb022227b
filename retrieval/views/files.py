"""Images leave the site only through these: the caller has checked the right to see them."""

from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404


def private_image(file: FieldFile, *, content_type: str, may_be_kept: bool = True) -> FileResponse:
    """A preview or thumbnail. It never changes under its address, so the reader's own browser may keep it.

    Not what only some may see, as the pictures that somebody asked with: the browser may be another reader's next.
    """
    try:
        response = FileResponse(file.open("rb"), content_type=content_type)
    except (FileNotFoundError, ValueError) as error:
        raise Http404("The image file is missing.") from error
    response["Cache-Control"] = "private, max-age=86400, immutable" if may_be_kept else "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response
