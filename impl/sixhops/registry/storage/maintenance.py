"""Looking after a storage directory: collecting what nothing refers to, and checking every digest.

Both may run beside a server. A manifest is put under a shared lock and blobs are removed under an exclusive
one, so a manifest never enters whose blobs are being removed. Content that was pushed or linked a short
while ago is kept, because its manifest may be on its way (`grace`).
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sixhops.registry.names import Digest, parse_digest
from sixhops.registry.storage import files
from sixhops.registry.storage.manifests import SIZE_LIMIT
from sixhops.registry.storage.references import Facts, Invalid, facts_of_stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sixhops.wire.image.layout import Layout

GRACE_SECONDS: Final = 3600.0
_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed, or would remove: `blobs` and their `size` in bytes."""

    blobs: tuple[Digest, ...]
    size: int


def collect(layout: Layout, *, dry_run: bool, grace: float = GRACE_SECONDS) -> Collected:
    """Remove content that no manifest of any repository refers to and that is older than `grace` seconds.

    Layer links to removed content go as well. Raises Invalid when a manifest can't be read: what it refers
    to is then unknown, so nothing is removed (see `check`).
    """
    with files.content_lock(layout.base, exclusive=True):
        kept = set(_referred(layout))
        young = time.time() - grace
        links = _links(layout)
        found: list[Digest] = []
        size = 0
        for digest, path in _contents(layout):
            status = path.stat()
            own = links.get(digest, [])
            if digest in kept or status.st_mtime > young or any(link.stat().st_mtime > young for link in own):
                continue
            found.append(digest)
            size += status.st_size
            if not dry_run:
                for link in own:
                    files.remove(link)
                path.unlink()
                shutil.rmtree(path.parent, ignore_errors=True)
    return Collected(tuple(found), size)


def expire(layout: Layout, age: float) -> int:
    """Forget what a mirror got more than `age` seconds ago, and collect it; return how many links went.

    Tags stay: they are asked for again anyhow, and lead nowhere until the manifest is fetched again.
    """
    limit = time.time() - age
    gone = 0
    for pattern in ("**/_layers/sha*/*/link", "**/_manifests/revisions/sha*/*/link"):
        for link in layout.repositories.glob(pattern):
            with suppress(FileNotFoundError):
                if link.stat().st_mtime < limit:
                    gone += files.remove(link)
    if gone:
        collect(layout, dry_run=False)
    return gone


def check(layout: Layout, *, mirror: bool = False) -> Iterator[str]:
    """Yield a line for each fault: content unlike its digest, links and manifests that lead nowhere.

    A `mirror` has manifests before it has what they refer to, so there only content and links are checked.
    """
    for digest, path in _contents(layout):
        found = _hash(path, digest.algorithm)
        if found is not None and found != digest:
            yield f"{digest}: the content has digest {found}"
    for link in sorted(layout.repositories.glob("**/link")):
        target = files.read_link(link)
        where = link.parent.relative_to(layout.repositories)
        if target is None:
            if link.exists():
                yield f"{where}: not a digest"
        elif "_manifests/tags" in str(where):
            name, _, tag = str(where).partition("/_manifests/tags/")
            # The history of a tag may name what has been deleted; its present value may not.
            if not mirror and tag.endswith("/current") and not layout.revision_link(name, target).exists():
                yield f"{where}: {target} is no manifest of this repository"
        elif "_referrers" not in where.parts and not layout.blob(target).exists() and link.exists():
            yield f"{where}: no content {target}"
    for name, link in () if mirror else _revisions(layout):
        yield from _check_manifest(layout, name, link)


def _check_manifest(layout: Layout, name: str, link: Path) -> Iterator[str]:
    target = files.read_link(link)
    if target is None:
        return
    try:
        facts = _facts(layout, target)
    except Invalid as error:
        yield f"{name}: manifest {target}: {error}"
        return
    if facts is None:
        return
    for digest in facts.blobs:
        layer = files.read_link(layout.layer_link(name, digest))
        if layer is None or not layout.blob(layer).exists():
            yield f"{name}: manifest {target} refers to blob {digest}, which is not here"
    for digest in facts.manifests:
        if not layout.revision_link(name, digest).exists():
            yield f"{name}: manifest {target} refers to manifest {digest}, which is not here"


def _referred(layout: Layout) -> Iterator[Digest]:
    for name, link in _revisions(layout):
        target = files.read_link(link)
        if target is None:
            continue
        yield target
        for signature in (link.parent / "signatures").glob("sha*/*/link"):
            signed = files.read_link(signature)
            if signed is not None:
                yield signed
        facts = _facts(layout, target)
        if facts is None:
            continue
        for digest in facts.blobs:
            yield digest
            # A digest by another algorithm is a link to the content's own.
            layer = files.read_link(layout.layer_link(name, digest))
            if layer is not None:
                yield layer


def _facts(layout: Layout, digest: Digest) -> Facts | None:
    """Return what a stored manifest refers to; None when its content has gone. Raises Invalid."""
    try:
        with layout.blob(digest).open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return None
    return facts_of_stored(data)


def _revisions(layout: Layout) -> Iterator[tuple[str, Path]]:
    for link in sorted(layout.repositories.glob("**/_manifests/revisions/sha*/*/link")):
        yield str(link.relative_to(layout.repositories)).partition("/_manifests/")[0], link


def _links(layout: Layout) -> dict[Digest, list[Path]]:
    found: dict[Digest, list[Path]] = {}
    for link in layout.repositories.glob("**/_layers/sha*/*/link"):
        target = files.read_link(link)
        if target is not None:
            found.setdefault(target, []).append(link)
    return found


def _contents(layout: Layout) -> Iterator[tuple[Digest, Path]]:
    for path in sorted(layout.blobs.glob("sha*/??/*/data")):
        digest = parse_digest(f"{path.parents[2].name}:{path.parent.name}")
        if digest is not None:
            yield digest, path


def _hash(path: Path, algorithm: str) -> Digest | None:
    hasher = hashlib.new(algorithm)
    buffer = memoryview(bytearray(_READ))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                hasher.update(buffer[:count])
    except FileNotFoundError:
        return None
    return Digest(algorithm, hasher.hexdigest())
