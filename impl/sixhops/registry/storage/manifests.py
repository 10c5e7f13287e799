"""Manifests by digest, tags that point to them, and who refers to whom."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sixhops.registry.names import Digest, is_tag, parse_digest
from sixhops.registry.storage import files
from sixhops.registry.storage.references import Facts, Invalid, media_type_of, read_manifest
from sixhops.wire.image import TrustKey, media, sign_pretty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.registry.storage.blobs import BlobStore
    from sixhops.registry.storage.files import Staging
    from sixhops.wire.image.layout import Layout

SIZE_LIMIT: Final = 4 << 20
_CACHE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it is served: `digest` names it, `data` are the bytes that travel."""

    digest: Digest
    media_type: str
    data: bytes


class ManifestStore:
    """Manifests of all repositories. Methods block on small files; those that write sync them."""

    def __init__(self, layout: Layout, staging: Staging, blobs: BlobStore) -> None:
        self._layout = layout
        self._staging = staging
        self._blobs = blobs
        # Bytes never change under a digest, so only the links are looked up again for each request.
        self._cache: OrderedDict[Digest, Stored] = OrderedDict()
        self._cached = 0
        # Lists and deletions read manifests in worker threads.
        self._lock = threading.Lock()
        self._key: TrustKey | None = None

    def resolve(self, repository: str, tag: str) -> Digest | None:
        """Return the digest that a tag points to."""
        return files.read_link(self._layout.tag_link(repository, tag))

    def has(self, repository: str, digest: Digest) -> bool:
        """Tell whether `repository` shows the manifest and its content is here."""
        target = files.read_link(self._layout.revision_link(repository, digest))
        return target is not None and self._blobs.has_content(target)

    def name_of(self, link: Path) -> Digest | None:
        """Return the digest under which a revision's link file shows a manifest."""
        return parse_digest(f"{link.parents[1].name}:{link.parent.name}")

    def get(self, repository: str, digest: Digest) -> Stored | None:
        """Return a manifest that `repository` shows."""
        target = files.read_link(self._layout.revision_link(repository, digest))
        if target is None:
            return None
        return self._load(repository, digest, target)

    def _load(self, repository: str, digest: Digest, target: Digest) -> Stored | None:
        with self._lock:
            found = self._cache.get(digest)
            if found is not None:
                self._cache.move_to_end(digest)
                return found
        data = self._blobs.content(target, SIZE_LIMIT)
        if data is None:
            return None
        try:
            media_type = media_type_of(data)
        except Invalid:
            # A link of an older docker-registry to a layer, or a rotten disk: no manifest to show.
            return None
        if media_type in {media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED}:
            return Stored(digest, media.DOCKER_SCHEMA1_SIGNED, self._signed(repository, digest, data))
        return self._remember(Stored(digest, media_type, data))

    def _remember(self, stored: Stored) -> Stored:
        with self._lock:
            if stored.digest not in self._cache:
                self._cache[stored.digest] = stored
                self._cached += len(stored.data)
            while self._cached > _CACHE_BYTES:
                _, dropped = self._cache.popitem(last=False)
                self._cached -= len(dropped.data)
        return stored

    def _signed(self, repository: str, digest: Digest, payload: bytes) -> bytes:
        """Return the text as it was put, or signed by us: docker-registry keeps no signatures."""
        directory = self._layout.revision(repository, digest) / "signatures"
        for link in sorted(directory.glob("sha*/*/link")):
            target = files.read_link(link)
            data = None if target is None else self._blobs.content(target, SIZE_LIMIT)
            if data is not None:
                return data
        return self.sign(payload)

    def sign(self, payload: bytes) -> bytes:
        """Return a schema1 manifest signed by this process's own key, made when it is first needed."""
        if self._key is None:
            self._key = TrustKey.from_seed(os.urandom(32))
        return sign_pretty(payload, self._key, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a collection from removing content between the check of references and `put`. Blocks."""
        with files.content_lock(self._layout.base, exclusive=False):
            yield

    def put(self, repository: str, facts: Facts, data: bytes, digest: Digest, tag: str | None) -> None:
        """Store a manifest whose references were checked; the tag moves last, to what is durable."""
        target = self._blobs.write(facts.canonical)
        if facts.canonical != data:
            signed = self._blobs.write(data)
            directory = self._layout.revision(repository, digest)
            link = directory / f"signatures/{signed.algorithm}/{signed.hex}/link"
            files.publish_link(self._staging, link, signed)
        if facts.subject is not None:
            link = self._layout.referrer_link(repository, facts.subject, digest)
            files.publish_link(self._staging, link, digest)
        for name in {digest, target}:
            files.publish_link(self._staging, self._layout.revision_link(repository, name), target)
        if tag is not None:
            self.tag(repository, tag, digest)

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag to a manifest that is here."""
        files.publish_link(self._staging, self._layout.tag_history(repository, tag, digest), digest)
        files.publish_link(self._staging, self._layout.tag_link(repository, tag), digest)

    def delete(self, repository: str, digest: Digest) -> bool:
        """Stop showing a manifest, and drop the tags that point to it; return whether it was shown."""
        stored = self.get(repository, digest)
        subject = None
        if stored is not None and stored.media_type in media.MANIFESTS | media.INDEXES:
            subject = read_manifest(stored.data, stored.media_type).subject
        if not files.remove(self._layout.revision_link(repository, digest)):
            return False
        if subject is not None:
            files.remove(self._layout.referrer_link(repository, subject, digest))
        for tag in self.tags(repository) or []:
            if self.resolve(repository, tag) == digest:
                self.untag(repository, tag)
        return True

    def untag(self, repository: str, tag: str) -> bool:
        """Drop a tag; return whether it was there. The manifest stays."""
        if not files.remove(self._layout.tag_link(repository, tag)):
            return False
        _remove_tree(self._layout.tags(repository) / tag)
        return True

    def tags(self, repository: str) -> list[str] | None:
        """Return all tags, sorted without regard to case; None when the repository has never had one."""
        directory = self._layout.tags(repository)
        try:
            found = [entry.name for entry in directory.iterdir() if is_tag(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return None
        shown = [tag for tag in found if (directory / tag / "current/link").exists()]
        return sorted(shown, key=tag_order)

    def repositories(self) -> Iterator[str]:
        """Yield the names of all repositories, sorted component by component."""
        yield from _walk(self._layout.repositories, "")


def tag_order(tag: str) -> tuple[str, str]:
    """Return the sort key of a tag (OCI distribution-spec 1.1, "Listing tags": case-insensitive)."""
    return tag.casefold(), tag


def name_order(name: str) -> list[str]:
    """Return the sort key of a repository: a parent comes right before its children."""
    return name.split("/")


def digest_bytes(data: bytes, algorithm: str) -> Digest:
    """Return the digest of `data` by `algorithm`, sha256 or sha512."""
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


def _walk(directory: Path, prefix: str) -> Iterator[str]:
    try:
        entries = sorted(entry.name for entry in directory.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return
    if prefix and ("_layers" in entries or "_manifests" in entries):
        yield prefix
    for entry in entries:
        if not entry.startswith("_"):
            yield from _walk(directory / entry, f"{prefix}/{entry}" if prefix else entry)


def _remove_tree(directory: Path) -> None:
    # The current link is gone already: what is left of the tag is history, and a crash here shows nothing.
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            try:
                path.rmdir()
            except OSError:
                return
        else:
            path.unlink(missing_ok=True)
    try:
        directory.rmdir()
    except OSError:
        return
