"""A person at the site without a browser: logs in, opens pages, asks with a file."""

import json
import re
import urllib.error
import urllib.request
import uuid
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


def login_of(role: str, *, folder: Path) -> dict[str, str]:
    """username and password of a demo login in the installation's folder."""
    return json.loads((folder / "demo-logins.json").read_text())[role]


class Visitor:
    def __init__(self, url: str, *, login: dict[str, str]) -> None:
        self._url = url
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open
        form = login | {"csrfmiddlewaretoken": self._token("/login/")}
        with self._open(f"{url}/login/", urlencode(form).encode()) as answer:
            if answer.url.endswith("/login/"):
                raise RuntimeError(f"{login['username']} could not log in.")

    def status(self, path: str) -> int:
        """Open a page, read it to its end, and return its status."""
        try:
            with self._open(self._url + path) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def ask(self, file: Path) -> str:
        """Send the form of the first page with a file, and return the path of the query's page."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n'.encode(),
            self._token("/").encode(),
            f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{file.name}"\r\n'.encode(),
            b"Content-Type: application/octet-stream\r\n\r\n",
            file.read_bytes(),
            f"\r\n--{boundary}--\r\n".encode(),
        ]
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(f"{self._url}/", data=b"".join(parts), headers=headers)  # noqa: S310
        with self._open(request) as answer:
            answer.read()
            return str(answer.url).removeprefix(self._url)

    def _token(self, path: str) -> str:
        with self._open(self._url + path) as answer:
            found = _TOKEN.search(answer.read().decode())
        if found is None:
            raise RuntimeError(f"The page {path} has no form.")
        return found.group(1)
