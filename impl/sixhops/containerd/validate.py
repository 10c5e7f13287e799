"""What names and labels may look like, in containerd's words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from sixhops.containerd.errors import invalid_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_digest", "check_identifier", "check_labels", "quote"]

IDENTIFIER = r"^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
IDENTIFIER_LENGTH = 76
LABEL_LENGTH = 4096
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


def quote(text: str) -> str:
    """Return `text` in double quotes as Go's %q prints it."""
    return json.dumps(text, ensure_ascii=False)


def check_identifier(text: str, prefix: str = "") -> None:
    """Raise RpcError INVALID_ARGUMENT unless `text` can name a container, namespace or task."""
    if not text:
        raise invalid_argument(f"{prefix}identifier must not be empty")
    if len(text) > IDENTIFIER_LENGTH:
        limit = f"greater than maximum length ({IDENTIFIER_LENGTH} characters)"
        raise invalid_argument(f"{prefix}identifier {quote(text)} {limit}")
    if re.fullmatch(IDENTIFIER, text) is None:
        raise invalid_argument(f"{prefix}identifier {quote(text)} must match {IDENTIFIER}")


def check_labels(labels: Mapping[str, str], prefix: str) -> None:
    """Raise RpcError INVALID_ARGUMENT when a label is too long."""
    for key, value in labels.items():
        length = len(key.encode()) + len(value.encode())
        if length > LABEL_LENGTH:
            shown = key[:10] if len(key) > 10 else key
            text = f"label key and value length ({length} bytes) greater than maximum size ({LABEL_LENGTH} bytes)"
            raise invalid_argument(f"{prefix}: {text}, key: {shown}")


def check_digest(text: str) -> str | None:
    """Return None for a well-formed digest, else what is wrong with it."""
    if DIGEST.fullmatch(text):
        return None
    algorithm, colon, _encoded = text.partition(":")
    if not colon or not algorithm:
        return "invalid checksum digest format"
    if algorithm not in ("sha256", "sha384", "sha512"):
        return "unsupported digest algorithm"
    return "invalid checksum digest length"
