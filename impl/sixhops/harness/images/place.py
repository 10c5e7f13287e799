"""Lays built images into the storage of a registry of ours: nothing is sent, and a scenario needs no push.

The registry may be running. Every file appears whole, and in the order of a push: content, then manifests, then tags.
Nothing is synced to the disk, since such a storage lives no longer than its stack.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sixhops.harness.errors import TargetError
from sixhops.wire.image import Digest, Layout, digest_of, verify_pretty

if TYPE_CHECKING:
    from collections.abc import Callable

    from sixhops.harness.images.built import BuiltImage, BuiltManifest

__all__ = ["place"]


def place(built: BuiltImage, storage: Path) -> None:
    """Lay `built` into `storage`, under its repository and tags; what is there already is not written again.

    Raises TargetError when the storage can't be written.
    """
    layout = Layout(storage)
    repository = built.repository
    try:
        for digest, path in built.blobs.items():
            name = _parsed(digest)
            _file(layout.blob(name), partial(_copy, path))
            _text(layout.layer_link(repository, name), digest)
        for manifest in built.manifests:
            _manifest(layout, repository, manifest)
        top = _parsed(built.digest)
        for tag in built.tags:
            _text(layout.tag_history(repository, tag, top), built.digest)
            _text(layout.tag_link(repository, tag), built.digest)
    except OSError as error:
        raise TargetError(f"the registry's storage {storage} can't be written: {error}") from error


def _manifest(layout: Layout, repository: str, manifest: BuiltManifest) -> None:
    digest = _parsed(manifest.digest)
    payload = manifest.data
    if digest_of(payload) != manifest.digest:
        # schema1 is named by what was signed; the signed text lies beside it
        payload, _ = verify_pretty(manifest.data)
        signed = digest_of(manifest.data)
        _content(layout, signed, manifest.data)
        directory = layout.revision(repository, digest) / "signatures"
        _text(directory / f"sha256/{_parsed(signed).hex}/link", signed)
    _content(layout, manifest.digest, payload)
    _text(layout.revision_link(repository, digest), manifest.digest)


def _content(layout: Layout, digest: str, data: bytes) -> None:
    _file(layout.blob(_parsed(digest)), partial(_write, data))


def _text(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.unlink(missing_ok=True)
        _file(path, partial(_write, text.encode()))


def _file(path: Path, write: Callable[[Path], None]) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        staged = Path(directory, "staged")
        write(staged)
        staged.replace(path)


def _write(data: bytes, target: Path) -> None:
    target.write_bytes(data)


def _copy(source: Path, target: Path) -> None:
    try:
        # the same file under two names: nobody writes into content that has its final name
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _parsed(digest: str) -> Digest:
    return Digest(*digest.split(":", 1))
