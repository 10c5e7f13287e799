"""Images by id and by name, on top of the layer store.

An image id is the digest of its configuration. A name is a reference in its long form with a tag or a
digest; an image may have many,
and lives as long as it has one or a container uses it. Messages are the engine's own, observed on dockerd
20.10.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import EngineError, not_found
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.transfer.sources import Sources
from sixhops.wire.image import chain_ids, digest_of, parse_config

if TYPE_CHECKING:
    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.state import State

__all__ = ["Image", "ImageStore"]

_FULL_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_SHORT_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `config` is the whole configuration document, `chain_id` names its topmost layer ("" for none)."""

    id: str
    config: dict[str, Any]
    chain_id: str
    parent: str
    tagged: float

    @property
    def diff_ids(self) -> list[str]:
        """Return the uncompressed digests of the layers, lowest first."""
        return list(self.config["rootfs"].get("diff_ids") or [])


class ImageStore:
    """The images of one engine."""

    def __init__(self, state: State, layers: LayerStore) -> None:
        self._state = state
        self.layers = layers
        self.sources = Sources(state)

    def add(self, config: bytes, parent: str = "") -> Image:
        """Register an image whose layers are all here; return it. Adding one a second time changes nothing.

        Raises DocumentError for a configuration that is none.
        """
        chain = chain_ids(parse_config(config).diff_ids)
        identity = digest_of(config)
        with self._state.change() as database:
            database.execute(
                "INSERT OR IGNORE INTO images (id, config, chain_id, parent) VALUES (?, ?, ?, ?)",
                (identity, config, chain[-1] if chain else "", parent),
            )
        found = self.by_id(identity)
        assert found is not None
        return found

    def by_id(self, identity: str) -> Image | None:
        """Return the image with exactly this id."""
        row = self._state.row(
            "SELECT id, config, chain_id, parent, tagged FROM images WHERE id = ?", identity
        )
        return None if row is None else _image(row)

    def config_bytes(self, identity: str) -> bytes:
        """Return the configuration as it was registered, byte for byte."""
        row = self._state.row("SELECT config FROM images WHERE id = ?", identity)
        if row is None:
            raise KeyError(identity)
        return _blob(row[0])

    def all(self) -> list[Image]:
        """Return every image, newest first by its own creation time."""
        rows = self._state.rows("SELECT id, config, chain_id, parent, tagged FROM images")
        return sorted(
            (_image(row) for row in rows),
            key=lambda image: str(image.config.get("created") or ""),
            reverse=True,
        )

    def resolve(self, text: str) -> Image:
        """Return what a user means by `text`: an id, a name, or an unambiguous beginning of an id.

        Raises EngineError: 404 `No such image: name:tag`, 400 for text that names nothing.
        """
        exact = self.by_id(text if text.startswith("sha256:") else f"sha256:{text}")
        if exact is not None:
            return exact
        if _FULL_ID.fullmatch(text):
            raise not_found(f"No such image: sha256:{text.removeprefix('sha256:')}")
        try:
            reference = references.parse(text)
        except EngineError:
            found = self.by_prefix(text)
            if found is not None:
                return found
            raise
        named = self.by_name(reference.or_latest().canonical)
        if named is not None:
            return named
        if reference.digest:
            # name:tag@digest and name@digest both mean the digest
            raise not_found(f"No such image: {reference.familiar}")
        found = self.by_prefix(text)
        if found is not None:
            return found
        raise not_found(f"No such image: {reference.or_latest().familiar}")

    def by_name(self, canonical: str) -> Image | None:
        """Return the image that a long name with tag or digest points to."""
        row = self._state.row("SELECT image FROM names WHERE name = ?", canonical)
        return None if row is None else self.by_id(str(row[0]))

    def names(self, identity: str) -> list[Reference]:
        """Return the names of an image, in order of their text."""
        rows = self._state.rows("SELECT name FROM names WHERE image = ? ORDER BY name", identity)
        return [references.parse(str(row[0])) for row in rows]

    def names_in(self, repository: str) -> list[tuple[Reference, str]]:
        """Return the names of a repository (`docker.io/library/busybox`), each with its image's id, in their order."""
        rows = self._state.rows(
            "SELECT name, image FROM names WHERE repository = ? ORDER BY name", repository
        )
        return [(references.parse(str(name)), str(image)) for name, image in rows]

    def name(self, reference: Reference, identity: str, *, by_user: bool = False) -> str | None:
        """Point a reference (with tag or digest) to an image; return the id that it pointed to before.

        `by_user`: a user has given the name, as opposed to a pull or load; only that counts as tagging (observed).
        """
        previous = self._state.row("SELECT image FROM names WHERE name = ?", reference.canonical)
        with self._state.change() as database:
            database.execute(
                "INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET image = excluded.image",
                (reference.canonical, reference.name, identity),
            )
            if by_user:
                database.execute("UPDATE images SET tagged = ? WHERE id = ?", (time.time(), identity))
        return None if previous is None else str(previous[0])

    def unname(self, reference: Reference) -> None:
        """Forget a name."""
        with self._state.change() as database:
            database.execute("DELETE FROM names WHERE name = ?", (reference.canonical,))

    def children(self, identity: str) -> list[str]:
        """Return the ids of the images that were made from an image."""
        rows = self._state.rows("SELECT id FROM images WHERE parent = ?", identity)
        return [str(row[0]) for row in rows]

    def remove(self, identity: str) -> list[str]:
        """Remove an image that has no names, with the layers that no other has; return their chain ids, topmost first."""
        image = self.by_id(identity)
        if image is None:
            return []
        with self._state.change() as database:
            database.execute("DELETE FROM images WHERE id = ?", (identity,))
        return self.layers.collect()

    def set_parent(self, identity: str, parent: str) -> None:
        """Note that an image was made from another."""
        with self._state.change() as database:
            database.execute("UPDATE images SET parent = ? WHERE id = ?", (parent, identity))

    def by_prefix(self, text: str) -> Image | None:
        """Return the image whose id begins so (with or without `sha256:`), None when there is none or more than one."""
        found = _SHORT_ID.fullmatch(text)
        if found is None:
            return None
        rows = self._state.rows("SELECT id FROM images WHERE id LIKE ?", f"sha256:{found[1]}%")
        return self.by_id(str(rows[0][0])) if len(rows) == 1 else None


def _image(row: tuple[object, ...]) -> Image:
    identity, config, chain_id, parent, tagged = row
    assert isinstance(tagged, float)
    return Image(str(identity), json.loads(_blob(config)), str(chain_id), str(parent), tagged)


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
