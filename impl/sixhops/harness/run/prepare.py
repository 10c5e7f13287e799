"""The images that a scenario speaks of, brought into the state that it names before its first step.

What a scenario needs to be absent is only removed when it is ours, by image id; a foreign image under the
same name makes the scenario skip, since deleting other people's images is not a test's business.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from weakref import WeakKeyDictionary

from sixhops.harness.errors import InternalError, TargetError
from sixhops.harness.images import docker_archive, place, push
from sixhops.harness.run.api import Api, quoted
from sixhops.harness.run.content import Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.images import BuiltImage
    from sixhops.harness.scenario.model import ImageUse, Scenario
    from sixhops.harness.target import Target

__all__ = ["prepare_images"]

_OK = frozenset({200})
_OK_OR_ABSENT = frozenset({200, 202, 404})

#: Images that earlier scenarios asked to be present and that are still in the engine, by image id. They
#: stay because loading takes longer than most scenarios, and go as soon as a scenario could see a layer of
#: theirs.
_kept: WeakKeyDictionary[object, dict[str, BuiltImage]] = WeakKeyDictionary()


def prepare_images(scenario: Scenario, target: Target, images: Mapping[str, BuiltImage]) -> str | None:
    """Bring the scenario's images into place; return why that is not possible here, None when it is done.

    Raises TargetError when the engine or the registry fails at it.
    """
    engine = Api(target.engine, "docker")
    used = [(use, _built(use, images)) for use in scenario.images.values()]
    _drop_sharers(used, target, engine)
    for use, built in used:
        reason = _serve(use, built, target) if use.served else _withhold(built, target)
        reason = reason or (_present(built, target, engine) if use.present else _absent(built, engine))
        if reason is not None:
            return reason
    return None


def _built(use: ImageUse, images: Mapping[str, BuiltImage]) -> BuiltImage:
    built = images.get(use.recipe)
    if built is None:
        raise InternalError(f"{use.mark}: the image {use.recipe} was not built")
    return built


def _drop_sharers(used: list[tuple[ImageUse, BuiltImage]], target: Target, engine: Api) -> None:
    """Remove kept images with a layer of one that must be absent: the engine would not download that
    layer.
    """
    kept = _kept.setdefault(target, {})
    wanted = {built.image_id for use, built in used if use.present}
    sensitive = {layer.chain_id for use, built in used if not use.present for layer in built.layers}
    for image_id, built in list(kept.items()):
        if image_id not in wanted and sensitive & {layer.chain_id for layer in built.layers}:
            engine.ask("DELETE", f"/images/{quoted(image_id)}?force=1", accepted=_OK_OR_ABSENT)
            del kept[image_id]


def _serve(use: ImageUse, built: BuiltImage, target: Target) -> str | None:
    if target.registry is None and use.present:
        # It comes by an archive; a scenario that pulls it all the same requires the registry hop.
        return None
    if target.registry is None:
        return (
            f"the image {built.name} can't be served: the target {target.facts.name} has no registry of ours"
        )
    if target.registry.storage is not None:
        place(built, target.registry.storage)
    else:
        push(built, target.registry.direct)
    return None


def _withhold(built: BuiltImage, target: Target) -> str | None:
    """Take the image's manifests out of our registry, where an earlier scenario may have put them."""
    if target.registry is None:
        return None
    registry = Api(target.registry.direct, target.registry.prefix)
    for manifest in reversed(built.manifests):
        place = f"/v2/{built.repository}/manifests/{manifest.digest}"
        registry.ask("DELETE", place, accepted=frozenset({202, 404}))
    return None


def _references(built: BuiltImage) -> list[str]:
    return [f"{built.familiar_name}:{tag}" for tag in built.tags]


def _present(built: BuiltImage, target: Target, engine: Api) -> str | None:
    missing = False
    for reference in _references(built):
        found = engine.ask("GET", f"/images/{quoted(reference)}/json", accepted=_OK_OR_ABSENT)
        if found.status == 404:
            missing = True
        elif found.json["Id"] not in _ids(built):
            return f"another image is called {reference} here"
    if missing:
        _load(built, target, engine)
    _kept.setdefault(target, {})[built.image_id] = built
    return None


def _load(built: BuiltImage, target: Target, engine: Api) -> None:
    if built.format == "schema1":
        # An archive can't hold it: the configuration exists only after a pull.
        for reference in _references(built):
            repository, _, tag = reference.rpartition(":")
            _require(engine, f"/images/create?fromImage={quote(repository, safe='')}&tag={tag}", None, target)
        return
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "image.tar"
        docker_archive(built, archive)
        data = Content(archive.read_bytes(), media_type="application/x-tar")
        _require(engine, "/images/load?quiet=1", data, target)


def _require(engine: Api, path: str, body: Content | None, target: Target) -> None:
    answer = engine.ask("POST", path, body, accepted=_OK)
    errors = [value["error"] for value in answer.values if isinstance(value, dict) and "error" in value]
    if errors:
        raise TargetError(f"{target.engine.text}: POST {path.partition('?')[0]}: {errors[0]}")


def _absent(built: BuiltImage, engine: Api) -> str | None:
    for reference in _references(built):
        found = engine.ask("GET", f"/images/{quoted(reference)}/json", accepted=_OK_OR_ABSENT)
        if found.status == 200 and found.json["Id"] not in _ids(built):
            return f"another image is called {reference} here, and it is not ours to remove"
    for name in [*_references(built), *_ids(built)]:
        engine.ask("DELETE", f"/images/{quoted(name)}?force=1", accepted=_OK_OR_ABSENT)
    return None


def _ids(built: BuiltImage) -> list[str]:
    """Return every id that the engine may give the image: a list has one for each platform."""
    ids = [built.image_id, *(manifest.image_id for manifest in built.manifests)]
    return list(dict.fromkeys(name for name in ids if name))
