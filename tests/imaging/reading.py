"""What becomes of every member of a folder or archive."""

from pathlib import Path

from retrieval.imaging import ArchiveLimits, FileRefused, Member, open_source


def fetched(member: Member, *, folder: Path) -> bytes | str:
    """The member's bytes, or why it was refused; nothing may be left in `folder`."""
    try:
        with member.fetch(folder) as path:
            content: bytes | str = path.read_bytes()
    except FileRefused as refused:
        content = refused.reason
    assert not list(folder.iterdir())
    return content


def all_of(path: Path, *, folder: Path, limits: ArchiveLimits | None = None) -> dict[str, bytes | str]:
    """Name -> bytes or refusal of every member of the folder or archive `path`; `folder` must be empty."""
    folder.mkdir(exist_ok=True)
    with open_source(path, limits=limits) as source:
        return {member.name: fetched(member, folder=folder) for member in source.members}
