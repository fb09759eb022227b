"""UIDs that lead back to nobody, the same for the same UID, so that studies and series stay together."""

import hmac
import uuid


def mapped_uid(uid: str, *, key: str) -> str:
    """Return a UID of the kind that is derived from a UUID (PS3.5, B.2): at most 44 characters. Empty stays empty."""
    if not uid:
        return ""
    digest = hmac.digest(key.encode(), uid.encode("utf-8", "replace"), "sha256")
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
