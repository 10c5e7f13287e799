"""Where everything lies in a registry's storage: docker-registry's version 2 layout under one root directory.

Shared by the registry, which keeps everything there, and the harness, which lays images down there without a push.

    docker/registry/v2/
      blobs/sha256/ab/abcd.../data
      repositories/<name>/_layers/sha256/<hex>/link               the digest of the blob, as text
      repositories/<name>/_manifests/revisions/sha256/<hex>/link
      repositories/<name>/_manifests/tags/<tag>/current/link
      repositories/<name>/_manifests/tags/<tag>/index/sha256/<hex>/link
      repositories/<name>/_uploads/<uuid>/{data,startedat}
      repositories/<name>/_referrers/sha256/<subject>/sha256/<hex>/link  ours
      repositories/<name>/_referrers/seen                        ours; up to when manifests were linked
      _staging/                                                  ours; unfinished files

The signed text of a schema1 manifest lies where docker-registry 2.0 kept signatures,
`revisions/sha256/<hex>/signatures/sha256/<hex>/link`; later versions ignore it and sign anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sixhops.wire.image.digest import Digest


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one storage root; nothing here touches the disk."""

    root: Path

    @property
    def base(self) -> Path:
        """Return the directory of this layout version."""
        return self.root / "docker/registry/v2"

    @property
    def repositories(self) -> Path:
        """Return the directory of all repositories."""
        return self.base / "repositories"

    @property
    def blobs(self) -> Path:
        """Return the directory of all content."""
        return self.base / "blobs"

    @property
    def staging(self) -> Path:
        """Return the directory of unfinished files; the same file system, so that renames are atomic."""
        return self.base / "_staging"

    def blob(self, digest: Digest) -> Path:
        """Return the file that holds the content."""
        return self.base / f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"

    def repository(self, name: str) -> Path:
        """Return a repository's directory."""
        return self.base / f"repositories/{name}"

    def layer_link(self, name: str, digest: Digest) -> Path:
        """Return the file that makes a blob visible in a repository."""
        return self.base / f"repositories/{name}/_layers/{digest.algorithm}/{digest.hex}/link"

    def revision(self, name: str, digest: Digest) -> Path:
        """Return the directory of a manifest of a repository."""
        return self.base / f"repositories/{name}/_manifests/revisions/{digest.algorithm}/{digest.hex}"

    def revisions(self, name: str) -> Path:
        """Return the directory of all manifests of a repository."""
        return self.base / f"repositories/{name}/_manifests/revisions"

    def revision_link(self, name: str, digest: Digest) -> Path:
        """Return the file that makes a manifest visible in a repository."""
        return self.revision(name, digest) / "link"

    def tags(self, name: str) -> Path:
        """Return the directory of a repository's tags."""
        return self.base / f"repositories/{name}/_manifests/tags"

    def tag_link(self, name: str, tag: str) -> Path:
        """Return the file that says which manifest a tag points to now."""
        return self.base / f"repositories/{name}/_manifests/tags/{tag}/current/link"

    def tag_history(self, name: str, tag: str, digest: Digest) -> Path:
        """Return the file that says that a tag pointed to a manifest once."""
        return self.tags(name) / f"{tag}/index/{digest.algorithm}/{digest.hex}/link"

    def upload(self, name: str, upload: str) -> Path:
        """Return the directory of an unfinished upload."""
        return self.base / f"repositories/{name}/_uploads/{upload}"

    def referrers(self, name: str, subject: Digest) -> Path:
        """Return the directory of the manifests that name `subject`."""
        return self.base / f"repositories/{name}/_referrers/{subject.algorithm}/{subject.hex}"

    def referrers_seen(self, name: str) -> Path:
        """Return the file that says when a repository's manifests were last searched for subjects."""
        return self.base / f"repositories/{name}/_referrers/seen"

    def referrer_link(self, name: str, subject: Digest, digest: Digest) -> Path:
        """Return the file that says that manifest `digest` names `subject`."""
        return self.referrers(name, subject) / f"{digest.algorithm}/{digest.hex}/link"
