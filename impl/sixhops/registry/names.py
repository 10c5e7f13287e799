"""The grammar of what a URL can name: repositories, tags, digests, uploads.

Every path component that reaches the file system has passed one of these, so none of them can hold a slash
(but a repository's own), a leading dot or a NUL: traversal is impossible by grammar, not by clean-up.
Source: distribution's reference grammar; OCI distribution-spec 1.1, "Pulling manifests".
"""

from __future__ import annotations

import re
from typing import Final

from sixhops.wire.image.digest import Digest

__all__ = ["NAME_LIMIT", "Digest", "is_repository", "is_tag", "is_upload", "parse_digest"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_UPLOAD: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

NAME_LIMIT: Final = 255


def is_repository(text: str) -> bool:
    """Tell whether `text` names a repository: at most 255 characters of lower-case components."""
    return len(text) <= NAME_LIMIT and _NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether `text` can be a tag: 1 to 128 characters, not starting with a dot or dash."""
    return _TAG.fullmatch(text) is not None


def is_upload(text: str) -> bool:
    """Tell whether `text` has the form of an upload's id, a UUID in lower case."""
    return _UPLOAD.fullmatch(text) is not None


def parse_digest(text: str) -> Digest | None:
    """Return the digest that `text` writes, or None when it is malformed or of an unsupported algorithm."""
    found = _DIGEST.fullmatch(text)
    if found is None:
        return None
    return Digest(found[1] or found[3], found[2] or found[4])
