"""Who refers to whom: links from a subject to the manifests that name it.

A manifest that is put here is linked at once. Manifests that docker-registry put into the directory, or that clients
pushed beside a fallback tag (`sha256-<hex>`) while it had no referrers API, are found when a repository is asked next:
distribution-spec 1.1, "Enabling the Referrers API", wants every manifest with a subject in the answer.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from sixhops.registry.storage import files
from sixhops.registry.storage.references import Facts, Invalid, Unverified, read_manifest
from sixhops.wire.image import media

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.registry.names import Digest
    from sixhops.registry.storage.files import Staging
    from sixhops.registry.storage.manifests import ManifestStore, Stored
    from sixhops.wire.image.layout import Layout

#: Clocks of file systems tick coarsely: what is so little older than the last look is looked at again.
_SLACK_SECONDS: Final = 2.0


class Referrers:
    """The links of all repositories. Methods block on small files."""

    def __init__(self, layout: Layout, staging: Staging, manifests: ManifestStore) -> None:
        self._layout = layout
        self._staging = staging
        self._manifests = manifests

    def of(self, repository: str, subject: Digest) -> Iterator[tuple[Stored, Facts]]:
        """Yield the manifests whose subject is `subject`, in the order of their digests."""
        self._catch_up(repository)
        for link in sorted(self._layout.referrers(repository, subject).glob("sha*/*/link")):
            digest = files.read_link(link)
            stored = None if digest is None else self._manifests.get(repository, digest)
            if stored is not None:
                yield stored, read_manifest(stored.data, stored.media_type)

    def _catch_up(self, repository: str) -> None:
        """Link the manifests that came since the last look, by whatever way.

        The folders of revisions tell by their times whether any came. (One that docker-registry deletes and puts
        again changes none of them; its link is still there from the first time.)
        """
        revisions = self._layout.revisions(repository)
        times = {path.name: path.stat().st_mtime_ns for path in sorted(revisions.glob("sha*"))}
        marker = self._layout.referrers_seen(repository)
        seen = _read(marker)
        if not times or seen.get("folders") == times:
            return
        now = time.time()
        since = float(seen.get("time", 0)) - _SLACK_SECONDS
        for link in revisions.glob("sha*/*/link"):
            try:
                if link.stat().st_ctime >= since:
                    self._link(repository, link)
            except FileNotFoundError:
                continue
        files.publish(self._staging, marker, json.dumps({"time": now, "folders": times}).encode())

    def _link(self, repository: str, link: Path) -> None:
        digest = self._manifests.name_of(link)
        stored = None if digest is None else self._manifests.get(repository, digest)
        if stored is None or stored.media_type not in media.MANIFESTS | media.INDEXES:
            return
        try:
            subject = read_manifest(stored.data, stored.media_type).subject
        except (Invalid, Unverified):
            # docker-registry takes what it does not know; such a subject names nothing.
            return
        if subject is not None:
            path = self._layout.referrer_link(repository, subject, stored.digest)
            files.publish_link(self._staging, path, stored.digest)


def _read(marker: Path) -> dict[str, Any]:
    try:
        found = json.loads(marker.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
