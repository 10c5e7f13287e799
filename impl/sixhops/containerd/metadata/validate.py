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
HEX = {"sha256": 64, "sha384": 96, "sha512": 128}
ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


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
        if len(key.encode()) + len(value.encode()) > LABEL_LENGTH:
            limit = f"label key and value greater than maximum size ({LABEL_LENGTH} bytes)"
            raise invalid_argument(f"{prefix}: {limit}, key: {key[:10]}")


def check_digest(text: str) -> str | None:
    """Return None for a well-formed digest, else what is wrong with it."""
    if DIGEST.fullmatch(text):
        return None
    algorithm, colon, encoded = text.partition(":")
    if not colon or not algorithm or not encoded or ANY_DIGEST.fullmatch(text) is None:
        return "invalid checksum digest format"
    if algorithm not in HEX:
        return "unsupported digest algorithm"
    if len(encoded) != HEX[algorithm]:
        return "invalid checksum digest length"
    return "invalid checksum digest format"
