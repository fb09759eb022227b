"""The elements of a page, for tests of what a keyboard and a screen reader meet."""

import re
from collections import Counter
from html.parser import HTMLParser

from django.test import Client


class Elements(HTMLParser):
    """The start tags of a page, each with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def focusable(self) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attributes) for tag, attributes in self.all if _takes_focus(tag, attributes)]

    def twice(self) -> list[str | None]:
        ids = Counter(attributes["id"] for _, attributes in self.all if "id" in attributes)
        return [each for each, count in ids.items() if count > 1]


def _takes_focus(tag: str, attributes: dict[str, str | None]) -> bool:
    if tag == "input" and attributes.get("type") == "hidden":
        return False
    return (
        tag in ("button", "input", "select", "textarea", "summary") or "tabindex" in attributes or "href" in attributes
    )


def page_text(client: Client, address: str) -> str:
    """The words of a page, without its tags."""
    response = client.get(address)
    assert response.status_code == 200, address
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())
