"""Content by digest, and which repository may show it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sixhops.registry.names import Digest
from sixhops.registry.storage import files

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.registry.storage.files import Staging
    from sixhops.wire.image.layout import Layout


@dataclass(frozen=True, slots=True)
class Blob:
    """Content on disk. `digest` is how it was asked for; `size` is in bytes."""

    digest: Digest
    path: Path
    size: int


class BlobStore:
    """Blobs below one root; the same content is stored once, and linked from each repository that has it."""

    def __init__(self, layout: Layout, staging: Staging) -> None:
        self._layout = layout
        self._staging = staging

    def find(self, repository: str, digest: Digest) -> Blob | None:
        """Return the blob when `repository` shows it; None otherwise."""
        target = files.read_link(self._layout.layer_link(repository, digest))
        if target is None:
            return None
        path = self._layout.blob(target)
        try:
            return Blob(digest, path, path.stat().st_size)
        except FileNotFoundError:
            # A link without content: docker-registry's collection leaves such links behind.
            return None

    def content(self, digest: Digest, limit: int) -> bytes | None:
        """Return content that is at most `limit` bytes long; None when it is absent or longer."""
        try:
            with self._layout.blob(digest).open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        return data if len(data) <= limit else None

    def has_content(self, digest: Digest) -> bool:
        """Tell whether any repository brought this content."""
        return self._layout.blob(digest).exists()

    def write(self, data: bytes) -> Digest:
        """Store small content that is already in memory; return its digest."""
        digest = Digest("sha256", hashlib.sha256(data).hexdigest())
        if self.content(digest, len(data)) != data:
            files.publish(self._staging, self._layout.blob(digest), data)
        return digest

    def adopt(self, source: Path, digest: Digest) -> None:
        """Give a synced file, whose content was verified, its final name.

        Replaces what has that name: the content is the same, and a copy that rotted on disk is healed.
        """
        files.move(source, self._layout.blob(digest))

    def link(self, repository: str, digest: Digest, target: Digest) -> None:
        """Show content `target` in `repository` under the name `digest` (maybe another algorithm's)."""
        files.publish_link(self._staging, self._layout.layer_link(repository, digest), target)

    def unlink(self, repository: str, digest: Digest) -> bool:
        """Stop showing a blob; return whether it was shown. The content stays until a collection."""
        return files.remove(self._layout.layer_link(repository, digest))
