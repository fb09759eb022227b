"""What a visitor may send."""

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from retrieval.imaging import FileRefused
from retrieval.imaging.signatures import HEAD_BYTES, check_kind

MEGABYTE = 2**20
NOTHING_CHOSEN = "Choose an image first."
EMPTY = "The file is empty. Choose a PNG, JPEG, TIFF or DICOM image."


def too_large() -> str:
    return f"The file is larger than {settings.QUERY_MAX_BYTES // MEGABYTE} MB, the most that can be searched with."


class AskForm(forms.Form):
    """One image. Only its size and its first bytes are looked at here: workers decode it.

    `http_status` tells what is wrong with a form that is not valid.
    """

    image = forms.FileField(error_messages={"required": NOTHING_CHOSEN, "empty": EMPTY, "missing": NOTHING_CHOSEN})
    http_status = 400

    def clean_image(self) -> UploadedFile:
        upload = self.cleaned_data["image"]
        if upload.size > settings.QUERY_MAX_BYTES:
            self.http_status = 413
            raise forms.ValidationError(too_large())
        try:
            check_kind(upload.read(HEAD_BYTES))
        except FileRefused as refused:
            self.http_status = 415
            raise forms.ValidationError(refused.reason) from refused
        upload.seek(0)
        return upload
