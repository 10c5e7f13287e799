"""What `docker save` writes: a tar with configurations, layers and names of any number of images.

The form is that of dockerd 20.10 to the byte as far as a layer's folder, its documents and the order of members go: the
folder's name is the digest of the layer's old configuration, so that must be printed as Go prints it (moby, image/v1 and
image/tarexport/save.go).
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from sixhops.dockerd.api import gojson
from sixhops.dockerd.containers.times import rfc3339
from sixhops.dockerd.errors import EngineError, not_found, system
from sixhops.dockerd.images import reference as references
from sixhops.dockerd.images.documents import container_config, created
from sixhops.dockerd.images.unpacking.tarheads import go_head
from sixhops.wire.image import is_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sixhops.dockerd.images.layers import Layer
    from sixhops.dockerd.images.reference import Reference
    from sixhops.dockerd.images.store import Image, ImageStore

__all__ = ["Saved", "plan", "write"]

_EPOCH: Final = "1970-01-01T00:00:00Z"
_SECOND: Final = 10**9
_PIECE: Final = 1 << 20
#: Go writes the kind of file into the mode as well.
_FILE, _DIRECTORY, _LINK = 0o100644, 0o40755, 0o120777
_ID_DIGITS: Final = 64


@dataclass(slots=True)
class Saved:
    """One image of an archive, and the names that it gets there."""

    image: Image
    names: list[Reference] = field(default_factory=list)


@dataclass(slots=True)
class _Member:
    """One member of the tar: its content is bytes, the tar of a layer, or a link's target."""

    info: tarfile.TarInfo
    content: bytes | Layer | None = None


def plan(texts: Sequence[str], store: ImageStore) -> list[Saved]:
    """Return the images that `texts` mean. Raises EngineError 404 for what is not there, 500 for what is no name.

    An id saves the image without names, a name with a tag that name, and one without all of the repository.
    """
    found: dict[str, Saved] = {}
    for text in texts:
        for image, name in _meant(text, store):
            saved = found.setdefault(image.id, Saved(image))
            if name is not None and name.tag and name not in saved.names:
                saved.names.append(name)
    for saved in found.values():
        if not saved.image.diff_ids:
            raise system("empty export - not implemented")
    return list(found.values())


def write(plan: Sequence[Saved], store: ImageStore, target: IO[bytes]) -> None:
    """Write an archive. Raises EngineError 500 for a layer that was changed on disk."""
    members: dict[str, _Member] = {}
    manifest: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    paths: dict[str, str] = {}
    for saved in plan:
        image = saved.image
        folders = [
            _folder(members, paths, layer, document, image) for layer, document in _layers(store, image)
        ]
        config = f"{image.id.removeprefix('sha256:')}.json"
        members[config] = _file(config, store.config_bytes(image.id), created(image))
        for name in saved.names:
            repositories.setdefault(name.familiar_name, {})[name.tag] = folders[-1]
        manifest.append(
            {
                "Config": config,
                "RepoTags": [name.familiar for name in saved.names] or None,
                "Layers": [f"{folder}/layer.tar" for folder in folders],
            }
        )
        if any(other.image.id == image.parent for other in plan):
            manifest[-1]["Parent"] = image.parent
    if repositories:
        ordered = {name: dict(sorted(tags.items())) for name, tags in sorted(repositories.items())}
        members["repositories"] = _file("repositories", gojson.encode(ordered), 0)
    members["manifest.json"] = _file("manifest.json", gojson.encode(manifest or None), 0)
    for _name, member in sorted(members.items(), key=lambda item: item[0].split("/")):
        _add(target, member, store)
    target.write(bytes(2 * tarfile.BLOCKSIZE))


def _meant(text: str, store: ImageStore) -> Iterator[tuple[Image, Reference | None]]:
    identity = text if is_digest(text) else f"sha256:{text}"
    if is_digest(identity) and len(identity.partition(":")[2]) == _ID_DIGITS and "/" not in identity:
        image = store.by_id(identity)
        if image is None:
            raise system(f"failed to get digest {identity}: no such file or directory")
        yield image, None
        return
    try:
        name = references.parse(text)
    except EngineError as error:
        raise system(error.message) from error
    if name.familiar_name == "sha256":
        yield _by_prefix(text, store), None
    elif name.tag or name.digest:
        image = store.by_name(name.canonical)
        if image is None:
            raise not_found("reference does not exist")
        yield image, name
    else:
        named = store.names_in(name.name)
        for other, image_id in named:
            image = store.by_id(image_id)
            if image is not None:
                yield image, other
        if not named:
            yield _by_prefix(text, store), None


def _by_prefix(text: str, store: ImageStore) -> Image:
    image = store.by_prefix(text)
    if image is None:
        raise not_found(f"No such image: {text}")
    return image


def _layers(store: ImageStore, image: Image) -> Iterator[tuple[Layer, dict[str, Any]]]:
    """Give each layer, lowest first, with its old configuration, complete with `id` and `parent`."""
    parent = ""
    chain = list(reversed(store.layers.chain(image.chain_id)))
    for layer in chain:
        document = _old_form(image.config if layer is chain[-1] else {})
        named = {"layer_id": layer.chain_id} | ({"parent": f"sha256:{parent}"} if parent else {})
        text = gojson.encode(dict(sorted((document | named).items()))).rstrip(b"\n")
        identity = hashlib.sha256(text).hexdigest()
        full = {"id": identity} | ({"parent": parent} if parent else {}) | document
        if image.config.get("os"):
            full["os"] = image.config["os"]
        yield layer, full
        parent = identity


def _old_form(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a configuration says of one layer, in the order of Go's struct."""
    own = config.get("config")
    document: dict[str, Any] = {
        "comment": config.get("comment"),
        "created": _time(config),
        "container": config.get("container"),
        "container_config": container_config(config.get("container_config")),
        "docker_version": config.get("docker_version"),
        "author": config.get("author"),
        "config": container_config(own) if own is not None else None,
        "architecture": config.get("architecture"),
        "variant": config.get("variant"),
        "os": config.get("os"),
    }
    return {key: value for key, value in document.items() if value}


def _time(config: dict[str, Any]) -> str:
    """Return when a layer was made: long ago, for those below the image's own."""
    if not config:
        return _EPOCH
    text = config.get("created")
    return text if isinstance(text, str) and text else rfc3339(0)


def _folder(
    members: dict[str, _Member], paths: dict[str, str], layer: Layer, document: dict[str, Any], image: Image
) -> str:
    """Note the members of a layer's folder; a layer that another folder has already is a link to it."""
    identity, when = str(document["id"]), created(image)
    if identity in members:
        return identity
    directory = _info(f"{identity}/", when)
    directory.type, directory.mode = tarfile.DIRTYPE, _DIRECTORY
    members[identity] = _Member(directory)
    members[f"{identity}/VERSION"] = _file(f"{identity}/VERSION", b"1.0", when)
    json_name, tar_name = f"{identity}/json", f"{identity}/layer.tar"
    members[json_name] = _file(json_name, gojson.encode(document).rstrip(b"\n"), when)
    info = _info(tar_name, when)
    if layer.diff_id in paths:
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, _LINK, f"../{paths[layer.diff_id]}"
        members[tar_name] = _Member(info)
    else:
        paths[layer.diff_id] = tar_name
        members[tar_name] = _Member(info, layer)
    return identity


def _info(name: str, when: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.uname, info.gname = _FILE, max(when // _SECOND, 0), "root", "root"
    return info


def _file(name: str, data: bytes, when: int) -> _Member:
    info = _info(name, when)
    info.size = len(data)
    return _Member(info, data)


def _add(target: IO[bytes], member: _Member, store: ImageStore) -> None:
    if member.content is None or isinstance(member.content, bytes):
        data = member.content or b""
        target.write(go_head(member.info) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
        return
    with store.layers.open_tar(member.content) as content:
        member.info.size = content.seek(0, io.SEEK_END)
        content.seek(0)
        target.write(go_head(member.info))
        shutil.copyfileobj(content, target, _PIECE)
        target.write(bytes(-member.info.size % tarfile.BLOCKSIZE))
