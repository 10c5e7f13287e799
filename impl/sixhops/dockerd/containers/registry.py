"""All containers by id, name and beginning of an id; and their documents in the engine's state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sixhops.dockerd.containers.model import Container, from_document, to_document
from sixhops.dockerd.errors import conflict, invalid, not_found, system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.dockerd.containers.held import Held
    from sixhops.dockerd.state import State

__all__ = ["Registry"]


class Registry:
    """The containers that there are. Belongs to the event loop's thread."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._by_id: dict[str, Held] = {}
        self._by_name: dict[str, str] = {}

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._by_id.values()))

    def __contains__(self, identity: object) -> bool:
        return identity in self._by_id

    @property
    def names(self) -> dict[str, str]:
        """Names that are taken, with the id of who has them."""
        return self._by_name

    def stored(self) -> list[Container]:
        """Return the containers in the engine's state."""
        rows = self._state.rows("SELECT document FROM containers ORDER BY created")
        return [from_document(json.loads(str(row[0]))) for row in rows]

    def reserve(self, name: str, identity: str) -> None:
        """Take a name. Raises EngineError 409 when somebody has it."""
        owner = self._by_name.get(name)
        if owner is not None:
            raise conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have to remove (or '
                "rename) that container to be able to reuse that name."
            )
        self._by_name[name] = identity

    def free(self, name: str) -> None:
        """Give a name back."""
        self._by_name.pop(name, None)

    def add(self, held: Held) -> None:
        """Add a container whose name is reserved."""
        self._by_id[held.container.id] = held
        self._by_name[held.container.name] = held.container.id

    def save(self, container: Container) -> None:
        """Write a container's document: one transaction."""
        document = json.dumps(to_document(container), separators=(",", ":"))
        with self._state.change() as database:
            database.execute(
                "INSERT INTO containers VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "name = excluded.name, document = excluded.document",
                (container.id, container.name, container.created / 1e9, document),
            )

    def remove(self, held: Held) -> None:
        """Forget a container."""
        with self._state.change() as database:
            database.execute("DELETE FROM containers WHERE id = ?", (held.container.id,))
        self._by_id.pop(held.container.id, None)
        self.free(held.container.name)

    def find(self, text: str) -> Held:
        """Return a container by id, name, or unambiguous beginning of an id. Raises EngineError 404, and 400 for ""."""
        if not text:
            raise invalid('invalid name or ID supplied: ""')
        held = self._by_id.get(text)
        if held is None:
            identity = self._by_name.get(text.removeprefix("/"))
            held = self._by_id.get(identity) if identity else None
        if held is not None:
            return held
        matches = [identity for identity in self._by_id if identity.startswith(text)]
        if len(matches) > 1:
            raise system(f"multiple IDs found with provided prefix: {text}")
        if not matches:
            raise not_found(f"No such container: {text}")
        return self._by_id[matches[0]]
