"""Which images and names may go, and what is said when one may not.

As dockerd 20.10 has it (moby, daemon/images/image_delete.go). A name goes alone while the image has others. With its last
name the image goes, unless something needs it: quietly, since the name was what the user spoke of. An image named by its id
goes with all its names when they are of one repository and one tag.

Hard conflicts, which no force overcomes: images made from this one, and containers that run. Soft ones: other names, and
containers that have stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sixhops.dockerd.errors import EngineError, conflict
from sixhops.dockerd.images import reference as references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore

    #: from an image's id to (container id, is running) of those made from it
    Users = Callable[[str], Sequence[tuple[str, bool]]]

__all__ = ["Deleted", "delete"]


@dataclass(slots=True)
class Deleted:
    """What a deletion did: the answer's entries, and (action, image) of the events that it causes, in order."""

    entries: list[dict[str, str]] = field(default_factory=list)
    events: list[tuple[str, Image]] = field(default_factory=list)

    def untagged(self, name: Reference, image: Image) -> None:
        """Note that a name is gone."""
        self.events.append(("untag", image))
        self.entries.append({"Untagged": name.familiar})


def delete(store: ImageStore, text: str, users: Users, *, force: bool, prune: bool) -> Deleted:
    """Remove the name or the image `text`; with `prune` its parents too, as far as nobody needs them.

    Raises EngineError 404, 400 and 409; then nothing was removed, but for names that went before the conflict was found.
    """
    image = store.resolve(text)
    done = Deleted()
    by_name = not _is_prefix(text, image.id)
    if by_name:
        if not force and _is_single(store.names(image.id)):
            for container, _running in users(image.id):
                raise conflict(
                    f'conflict: unable to remove repository reference "{text}" (must force) - '
                    f"container {container[:12]} is using its referenced image {_short(image.id)}"
                )
        if _forget_name(store, references.parse(text).or_latest(), image, done):
            return done
    elif _is_single(store.names(image.id)):
        _check(store, image, users, soft=not force, names=False)
        for name in store.names(image.id):
            store.unname(name)
            done.untagged(name, image)
    _delete_image(store, image, users, done, force=force, prune=prune, quiet=by_name)
    return done


def _forget_name(store: ImageStore, name: Reference, image: Image, done: Deleted) -> bool:
    """Remove a name, and its repository's digests with the last tag; return whether the image has other names."""
    store.unname(name)
    done.untagged(name, image)
    left = store.names(image.id)
    if not name.digest and not any(other.tag and other.name == name.name for other in left):
        for other in left:
            if other.digest and other.name == name.name:
                store.unname(other)
                done.untagged(other, image)
        left = store.names(image.id)
    return bool(left)


def _delete_image(
    store: ImageStore, image: Image, users: Users, done: Deleted, *, force: bool, prune: bool, quiet: bool
) -> None:
    try:
        _check(store, image, users, soft=not force, names=not force)
    except _ConflictError as error:
        is_dangling = not store.names(image.id) and not store.children(image.id)
        if quiet and (not is_dangling or error.used):
            return
        raise
    for name in store.names(image.id):
        store.unname(name)
        done.untagged(name, image)
    layers = store.remove(image.id)
    done.events.append(("delete", image))
    done.entries += [{"Deleted": image.id}, *({"Deleted": chain_id} for chain_id in layers)]
    parent = store.by_id(image.parent) if image.parent and prune else None
    if parent is not None:
        _delete_image(store, parent, users, done, force=False, prune=True, quiet=True)


class _ConflictError(EngineError):
    """An image can't go; `used` says that a container is why."""

    def __init__(self, image: str, reason: str, *, hard: bool, used: bool) -> None:
        word = "cannot be forced" if hard else "must be forced"
        super().__init__(409, f"conflict: unable to delete {_short(image)} ({word}) - {reason}")
        self.used = used


def _check(store: ImageStore, image: Image, users: Users, *, soft: bool, names: bool) -> None:
    """Raise a conflict; `soft`: stopped containers count too, `names`: names do."""
    if store.children(image.id):
        raise _ConflictError(image.id, "image has dependent child images", hard=True, used=False)
    containers = users(image.id)
    for container, running in containers:
        if running:
            reason = f"image is being used by running container {container[:12]}"
            raise _ConflictError(image.id, reason, hard=True, used=True)
    if names and store.names(image.id):
        raise _ConflictError(image.id, "image is referenced in multiple repositories", hard=False, used=False)
    if soft:
        for container, _running in containers:
            reason = f"image is being used by stopped container {container[:12]}"
            raise _ConflictError(image.id, reason, hard=False, used=True)


def _is_single(names: Sequence[Reference]) -> bool:
    """Tell whether names are of one repository and at most one tag; there must be one."""
    if len(names) <= 1:
        return len(names) == 1
    tags = [name for name in names if name.tag]
    repositories = {name.name for name in names if name.digest}
    if len(tags) > 1:
        return False
    return repositories == {(tags or names)[0].name}


def _is_prefix(text: str, identity: str) -> bool:
    return identity.startswith(text) or identity.removeprefix("sha256:").startswith(text)


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]
