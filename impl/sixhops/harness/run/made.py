"""What a scenario made in the engine, read from its exchanges and from what the engine tap saw; and its
removal.

Clean-up removes what this scenario is known to have made, nothing else: on a shared engine other people's
containers live next to ours. Whatever else has appeared is the leftover check's business, which only tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.harness.run.api import Api, quoted
from sixhops.harness.run.incoming import JsonValues
from sixhops.harness.tap.http.record import split_target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sixhops.harness.exchange import Exchange, HopMessage

__all__ = ["ImageTable", "Made", "image_table", "made_by", "remove"]

_PREFIX = re.compile(r"/v\d+(\.\d+)?(?=/)")
_TAGGED = re.compile(r"/images/(.+)/tag")
_LOADED = re.compile(r"Loaded image(?: ID)?: (\S+)")
_GONE = frozenset({200, 202, 204, 304, 404, 409})


@dataclass(slots=True)
class Made:
    """Ids and names. `references` are names that pulls, tags, loads and builds gave; `images` are image
    ids.
    """

    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks or self.volumes or self.images or self.references)


@dataclass(frozen=True, slots=True)
class ImageTable:
    """The engine's images: every name (tag or digest) and every id, with the id that it stands for."""

    ids: frozenset[str]
    names: dict[str, str]


def made_by(exchanges: Iterable[Exchange], messages: Iterable[HopMessage]) -> Made:
    """Return what the requests among `exchanges` and the engine's `messages` made, each once, in order."""
    made = Made()
    facets: dict[str, Any]
    query: Any
    for exchange in exchanges:
        if "target" in exchange.sent and exchange.kind in {"request", "join"}:
            path, query = split_target(str(exchange.sent["target"]))
            facets = exchange.facets
            values = facets.get("stream")
            method, status = str(exchange.sent.get("method")), facets.get("status")
            _note(made, method, path, query, status, values if isinstance(values, list) else [])
    for message in messages:
        if message.hop == "engine":
            fields: dict[str, Any] = message.fields
            answer = fields.get("response_json")
            values = [answer] if answer is not None else _lines(fields.get("response_body"))
            query = fields.get("query")
            _note(
                made,
                str(fields.get("method")),
                str(fields.get("path")),
                query if isinstance(query, dict) else {},
                fields.get("status"),
                values,
            )
    for names in (made.containers, made.networks, made.volumes, made.images, made.references):
        names[:] = dict.fromkeys(names)
    return made


def _note(made: Made, method: str, path: str, query: dict[str, Any], status: Any, values: list[Any]) -> None:
    if method != "POST" or not isinstance(status, int) or not 200 <= status < 300:
        return
    path = _PREFIX.sub("", path, count=1)
    answer = values[0] if values and isinstance(values[0], dict) else {}
    match path:
        case "/containers/create":
            _add(made.containers, answer.get("Id"))
        case "/networks/create":
            _add(made.networks, answer.get("Id"))
        case "/volumes/create":
            _add(made.volumes, answer.get("Name"))
        case "/commit":
            _add(made.images, answer.get("Id"))
            _add(made.references, _reference(query.get("repo"), query.get("tag")))
        case "/images/create":
            name = query.get("fromImage") or query.get("repo")
            _add(made.references, _reference(name, query.get("tag")))
        case "/images/load":
            for value in values:
                found = _LOADED.search(str(value.get("stream", ""))) if isinstance(value, dict) else None
                _add(
                    made.images if found and found[1].startswith("sha256:") else made.references,
                    found and found[1],
                )
        case "/build":
            for tag in query["t"] if isinstance(query.get("t"), list) else [query.get("t")]:
                _add(made.references, tag)
            for value in values:
                if isinstance(value, dict) and isinstance(value.get("aux"), dict):
                    _add(made.images, value["aux"].get("ID"))
        case _:
            if _TAGGED.fullmatch(path):
                _add(made.references, _reference(query.get("repo"), query.get("tag")))


def _add(names: list[str], name: Any) -> None:
    if isinstance(name, str) and name:
        names.append(name)


def _reference(name: Any, tag: Any) -> str | None:
    if not isinstance(name, str) or not name:
        return None
    if not isinstance(tag, str) or not tag:
        return name
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def _lines(body: Any) -> list[Any]:
    values = JsonValues()
    if isinstance(body, str):
        values.feed(body.encode())
        values.finish()
    return values.values


def image_table(engine: Api) -> ImageTable:
    """Return the images that the engine has now. Raises TargetError when it does not tell."""
    listed = engine.ask("GET", "/images/json?all=1", accepted=frozenset({200})).json or []
    names: dict[str, str] = {}
    for image in listed:
        for name in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]:
            if not name.startswith("<none>"):
                names[name] = image["Id"]
    return ImageTable(frozenset(image["Id"] for image in listed), names)


def remove(made: Made, before: ImageTable, own: Collection[str], engine: Api) -> list[str]:
    """Remove what was made, and return a sentence for everything that refused.

    `before`: the images at the scenario's start, which stay with their names; `own`: ids of the scenario's
    built images. Raises TargetError when the engine can't be asked.
    """
    failures: list[str] = []
    for name in made.containers:
        if (
            _delete(engine, f"/containers/{quote(name)}?force=1&v=1", f"container {name[:12]}", failures)
            == 409
        ):
            # A removal is under way (AutoRemove) and was refused a second time; this ends together with it.
            engine.ask(
                "POST", f"/containers/{quote(name)}/wait?condition=removed", accepted=frozenset({200, 404})
            )
    for name in made.networks:
        _delete(engine, f"/networks/{quote(name)}", f"network {name[:12]}", failures)
    for name in made.volumes:
        _delete(engine, f"/volumes/{quote(name)}?force=1", f"volume {name}", failures)
    if made.images or made.references:
        _remove_images(made, before, own, engine, failures)
    return failures


def _remove_images(
    made: Made, before: ImageTable, own: Collection[str], engine: Api, failures: list[str]
) -> None:
    now = image_table(engine)
    repositories = {_repository(reference) for reference in made.references}
    ids = {*made.images, *own}
    for name, image_id in now.names.items():
        ours = image_id in ids or _repository(name) in repositories
        if ours and before.names.get(name) != image_id:
            _delete(engine, f"/images/{quoted(name)}?force=1", f"image {name}", failures)
            ids.add(image_id)
    for image_id in ids - before.ids:
        if image_id in now.ids:
            _delete(engine, f"/images/{quoted(image_id)}?force=1", f"image {image_id}", failures)


def _repository(name: str) -> str:
    name = name.partition("@")[0]
    head, _, tag = name.rpartition(":")
    repository = head if head and "/" not in tag else name
    return repository.removeprefix("docker.io/").removeprefix("library/")


def _delete(engine: Api, target: str, what: str, failures: list[str]) -> int:
    answer = engine.ask("DELETE", target)
    if answer.status not in _GONE:
        failures.append(f"{what} can't be removed: {answer.status} {answer.text.strip()}")
    return answer.status
