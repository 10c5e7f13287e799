"""Which registries are known to have a layer, under which digest: what spares a push most of its uploads.

A pull or a push that brings a layer notes the blob's digest and the repository. The next push of the layer asks the
registry for that blob, or has it mounted from the other repository, before it sends anything. Order of candidates and number
of attempts: moby, distribution/push_v2.go and distribution/metadata.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sixhops.dockerd.images.transfer.authorization import Credentials
    from sixhops.dockerd.state import State

__all__ = ["Attempts", "Source", "Sources", "attempts_for", "mark_of", "mountable", "ranked"]

#: How many sources of a layer are kept.
_KEPT: Final = 50
_SMALL: Final = 100 << 10
_MIDDLE: Final = 10 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A repository (long name) that had a blob; `mark` tells with whose credentials it was pushed, "" for a pull."""

    digest: str
    repository: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """How much a layer is worth: mounts to try, blobs to ask for, and whether blobs of other repositories count."""

    mounts: int
    checks: int
    elsewhere: bool


class Sources:
    """The notes of one engine, oldest first."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of(self, diff_id: str) -> list[Source]:
        """Return the sources of a layer, oldest first."""
        rows = self._state.rows(
            "SELECT digest, repository, mark FROM sources WHERE diff_id = ? ORDER BY number", diff_id
        )
        return [Source(str(digest), str(repository), str(mark)) for digest, repository, mark in rows]

    def add(self, diff_id: str, source: Source) -> None:
        """Note a source as the newest; the oldest go when there are too many."""
        with self._state.change() as database:
            database.execute(
                "DELETE FROM sources WHERE diff_id = ? AND digest = ? AND repository = ?",
                (diff_id, source.digest, source.repository),
            )
            database.execute(
                "INSERT INTO sources (diff_id, digest, repository, mark) VALUES (?, ?, ?, ?)",
                (diff_id, source.digest, source.repository, source.mark),
            )
            database.execute(
                "DELETE FROM sources WHERE diff_id = ? AND number NOT IN "
                "(SELECT number FROM sources WHERE diff_id = ? ORDER BY number DESC LIMIT ?)",
                (diff_id, diff_id, _KEPT),
            )
            database.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (source.digest, diff_id))

    def remove(self, diff_id: str, source: Source) -> None:
        """Forget a source that turned out not to be one."""
        with self._state.change() as database:
            database.execute(
                "DELETE FROM sources WHERE diff_id = ? AND digest = ? AND repository = ?",
                (diff_id, source.digest, source.repository),
            )


def mark_of(credentials: Credentials, digest: str, repository: str) -> str:
    """Return what tells later that the same user pushed a blob there; it does not give the credentials away."""
    login = [
        credentials.username,
        credentials.password,
        credentials.identity_token,
        credentials.registry_token,
    ]
    key = hashlib.sha256(json.dumps(login).encode()).digest()
    return hmac.new(key, f"{digest}{repository}".encode(), hashlib.sha256).hexdigest()


def attempts_for(size: int) -> Attempts:
    """Return what is tried for a layer of `size` bytes before it is sent: the larger, the more."""
    if size > _MIDDLE:
        return Attempts(4, 3, elsewhere=True)
    if size > _SMALL:
        return Attempts(3, 1, elsewhere=False)
    return Attempts(1, 1, elsewhere=False)


def ranked(sources: Sequence[Source], repository: str, credentials: Credentials) -> list[Source]:
    """Return sources, best first: the same user's, then those whose repository has most of the path, then the newest."""
    wanted = repository.split("/")

    def worth(source: Source) -> tuple[bool, int]:
        same = source.mark == mark_of(credentials, source.digest, source.repository)
        common = 0
        for own, other in zip(wanted, source.repository.split("/"), strict=False):
            if own != other:
                break
            common += 1
        return (not same, -common)

    newest_first = [*reversed(sources)]
    return sorted(newest_first, key=worth)


def mountable(
    sources: Sequence[Source], repository: str, credentials: Credentials, most: int
) -> list[Source]:
    """Return the sources at the same registry that a blob may be mounted from into `repository`, best first."""
    domain = repository.partition("/")[0]
    others = [
        source
        for source in sources
        if source.repository.partition("/")[0] == domain and source.repository != repository
    ]
    return ranked(others, repository, credentials)[:most]
