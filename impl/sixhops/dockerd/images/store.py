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

from sixhops.dockerd.errors import EngineError, conflict, not_found
from sixhops.dockerd.images import reference as references
from sixhops.wire.image import chain_ids, digest_of, parse_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sixhops.dockerd.images.layers import LayerStore
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.state import State

__all__ = ["Image", "ImageStore"]

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
        try:
            reference = references.parse(text)
        except EngineError:
            found = self._by_prefix(text)
            if found is not None:
                return found
            raise
        named = self.by_name(reference.or_latest().canonical)
        if named is not None:
            return named
        if reference.digest:
            # name:tag@digest and name@digest both mean the digest
            raise not_found(f"No such image: {reference.familiar}")
        found = self._by_prefix(text)
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

    def delete(
        self, text: str, users: Iterable[tuple[str, str, bool]], *, force: bool, prune: bool
    ) -> list[dict[str, str]]:
        """Remove a name, or an image with all its names; return the answer's Untagged and Deleted entries.

        `users` are (container id, image id, is running) of all containers. Raises EngineError 404 and 409.
        """
        image = self.resolve(text)
        by_name = not _is_id(text, image.id)
        own = [(container, running) for container, used, running in users if used == image.id]
        names = self.names(image.id)
        if by_name:
            return self._delete_name(
                references.parse(text).or_latest(), image, names, own, force=force, prune=prune
            )
        self._refuse_if_used(image, names, own, force=force)
        entries = self._untag(names)
        return entries + ([] if own else self._delete_image(image, prune=prune))

    def _delete_name(
        self,
        reference: Reference,
        image: Image,
        names: list[Reference],
        own: list[tuple[str, bool]],
        *,
        force: bool,
        prune: bool,
    ) -> list[dict[str, str]]:
        tags = [name for name in names if name.tag]
        others = [name for name in tags if name != reference]
        digests = [name for name in names if name.digest and name.name == reference.name]
        is_last = not others if reference.tag else len(names) == 1
        if own and is_last and not force:
            raise conflict(
                f'conflict: unable to remove repository reference "{reference.familiar}" (must force) - '
                f"container {own[0][0][:12]} is using its referenced image {image.id[7:19]}"
            )
        gone = [reference]
        # the last tag of a repository takes the repository's digests with it
        if reference.tag and not [name for name in others if name.name == reference.name]:
            gone += digests
        entries = self._untag(gone)
        if own or self.names(image.id):
            return entries
        return entries + self._delete_image(image, prune=prune)

    def _refuse_if_used(
        self, image: Image, names: list[Reference], own: list[tuple[str, bool]], *, force: bool
    ) -> None:
        short = image.id[7:19]
        for container, running in own:
            if running:
                raise conflict(
                    f"conflict: unable to delete {short} (cannot be forced) - "
                    f"image is being used by running container {container[:12]}"
                )
        if force:
            return
        if len({name.name for name in names}) > 1 or len([name for name in names if name.tag]) > 1:
            raise conflict(
                f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
            )
        for container, _running in own:
            raise conflict(
                f"conflict: unable to delete {short} (must be forced) - "
                f"image is being used by stopped container {container[:12]}"
            )

    def _untag(self, names: Iterable[Reference]) -> list[dict[str, str]]:
        entries = []
        for name in names:
            self.unname(name)
            entries.append({"Untagged": name.familiar})
        return entries

    def _delete_image(self, image: Image, *, prune: bool) -> list[dict[str, str]]:
        with self._state.change() as database:
            database.execute("DELETE FROM images WHERE id = ?", (image.id,))
        entries = [{"Deleted": image.id}]
        needed = {layer.chain_id for other in self.all() for layer in self.layers.chain(other.chain_id)}
        unneeded = [
            layer.chain_id for layer in self.layers.chain(image.chain_id) if layer.chain_id not in needed
        ]
        self.layers.remove(unneeded)
        entries += [{"Deleted": chain_id} for chain_id in unneeded]
        parent = self.by_id(image.parent) if image.parent and prune else None
        if parent is not None and not self.names(parent.id):
            entries += self._delete_image(parent, prune=prune)
        return entries

    def _by_prefix(self, text: str) -> Image | None:
        found = _SHORT_ID.fullmatch(text)
        if found is None:
            return None
        rows = self._state.rows("SELECT id FROM images WHERE id LIKE ?", f"sha256:{found[1]}%")
        return self.by_id(str(rows[0][0])) if len(rows) == 1 else None


def _image(row: tuple[object, ...]) -> Image:
    identity, config, chain_id, parent, tagged = row
    assert isinstance(tagged, float)
    return Image(str(identity), json.loads(_blob(config)), str(chain_id), str(parent), tagged)


def _is_id(text: str, identity: str) -> bool:
    bare = text.removeprefix("sha256:")
    return bool(_SHORT_ID.fullmatch(text)) and identity.removeprefix("sha256:").startswith(bare)


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
