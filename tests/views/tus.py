"""Sending files in pieces, as a tus client does."""

import base64
from typing import Any

from django.test import Client

from retrieval.models import Upload
from retrieval.views.uploading import PIECE


def create(client: Client, upload: Upload, *, path: str, size: int, content: bytes | None = None) -> Any:
    headers = {
        "Upload-Length": str(size),
        "Upload-Metadata": f"path {base64.b64encode(path.encode()).decode()}",
        "Tus-Resumable": "1.0.0",
    }
    address = f"/uploads/{upload.uuid}/files/"
    if content is None:
        return client.generic("POST", address, headers=headers)
    return client.generic("POST", address, content, content_type=PIECE, headers=headers)


def send(client: Client, address: str, *, content: bytes, offset: int) -> Any:
    return client.generic("PATCH", address, content, content_type=PIECE, headers={"Upload-Offset": str(offset)})
