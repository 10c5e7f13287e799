"""Digests of content, and the chain ids that name a stack of layers."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTERED = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Digest(NamedTuple):
    """The name of content: a hash algorithm that `hashlib` knows by the same name, and lower-case hex."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    """Tell whether `text` is a well-formed sha256 digest."""
    return _SHA256.fullmatch(text) is not None


def is_registered_digest(text: str) -> bool:
    """Tell whether `text` is a well-formed digest by an algorithm that OCI image-spec registers: sha256, sha512."""
    return _REGISTERED.fullmatch(text) is not None


def short(digest: str) -> str:
    """Return the twelve hex digits by which Docker's progress lines and tables show a digest or id."""
    return digest.rpartition(":")[2][:12]


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the chain id after each layer, lowest first.

    OCI image-spec, config.md, "Layer ChainID": the first is the diff id itself, every further one the digest
    of the previous chain id, a space and the diff id.
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
