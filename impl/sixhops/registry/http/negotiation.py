"""Which form of a manifest a client can read, by its Accept headers.

docker-registry takes a missing Accept header for "schema1 only". RFC 9110 (12.5.1) takes it, and `*/*`, for
"anything"; so do we, and curl sees a manifest as it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANYTHING: Final = frozenset({"*/*", "application/*"})


def accepted(headers: Iterable[str]) -> frozenset[str] | None:
    """Return the media types named by all Accept header lines, or None for "anything".

    Weights are not looked at, as in docker-registry: a registry has one form of each manifest to give.
    """
    types = {part.partition(";")[0].strip().lower() for line in headers for part in line.split(",")}
    types.discard("")
    return None if not types or types & _ANYTHING else frozenset(types)


def reads(types: frozenset[str] | None, media_type: str) -> bool:
    """Tell whether a client that accepts `types` reads `media_type`; schema1 goes to everyone."""
    return types is None or media_type in types or media_type not in media.MANIFESTS | media.INDEXES
