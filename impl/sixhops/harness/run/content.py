"""The bytes that a step sends: targets, headers and bodies from values without templates."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sixhops.harness.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sixhops.harness.errors import Mark
    from sixhops.harness.images import BuiltImage

__all__ = [
    "Content",
    "Sources",
    "auth_header",
    "compact",
    "content",
    "json_content",
    "query_text",
    "word",
    "words",
]

_PART = 64 * 1024
_SOURCES = ("text", "base64", "hex", "file", "blob")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the bytes come from that are not in the scenario itself: files below `directory`, blobs of `images`."""

    directory: Path
    images: tuple[BuiltImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """A body: `data`, sent `repeat` times, with chunked framing or with its length."""

    data: bytes
    repeat: int = 1
    chunked: bool = False
    media_type: str | None = None

    @property
    def length(self) -> int:
        """Return the number of bytes that are sent, without framing."""
        return len(self.data) * self.repeat

    def parts(self) -> Iterator[bytes]:
        """Give the bytes in pieces of a size that fits a socket, so that a huge repetition is never in
        memory.
        """
        if not self.data:
            return
        together = max(1, _PART // len(self.data))
        full, rest = divmod(self.repeat, together)
        block = self.data * together if full else b""
        for _ in range(full):
            yield from _slices(block)
        yield from _slices(self.data * rest)

    def all(self) -> bytes:
        """Return all bytes at once."""
        return self.data * self.repeat


def _slices(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PART):
        yield data[start : start + _PART]


def compact(value: Any) -> bytes:
    """Return `value` as JSON without blanks, as Docker's clients send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_content(value: Any) -> Content:
    """Return the body for a step's `json`."""
    return Content(compact(value), media_type="application/json")


def content(value: Any, mark: Mark, sources: Sources) -> Content:
    """Return the bytes of a `body`, `stdin` or `data` value.

    `value`: a string, a scalar (as text), or a mapping with one of text, base64, hex, file (below the scenario's own
    directory), blob (a digest), and optionally repeat and chunked. Raises ScenarioError for anything else.
    """
    if value is None:
        return Content(b"")
    if isinstance(value, bytes):
        return Content(value)
    if not isinstance(value, dict):
        return Content(value.encode() if isinstance(value, str) else compact(value))
    given = [name for name in _SOURCES if name in value]
    if len(given) != 1:
        raise ScenarioError(f"a body mapping has exactly one of {', '.join(_SOURCES)}", mark)
    repeat = value.get("repeat", 1)
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 0:
        raise ScenarioError(f"repeat must be a number from 0 on, not {repeat!r}", mark)
    data = _decoded(given[0], value[given[0]], mark, sources)
    return Content(data, repeat, chunked=bool(value.get("chunked", False)))


def _decoded(source: str, text: Any, mark: Mark, sources: Sources) -> bytes:
    if not isinstance(text, str):
        raise ScenarioError(f"{source} must be a string, not {text!r}", mark)
    try:
        if source == "base64":
            return base64.b64decode(text, validate=True)
        if source == "hex":
            return bytes.fromhex(text)
    except (binascii.Error, ValueError) as error:
        raise ScenarioError(f"not {source}: {error}", mark) from None
    if source == "text":
        return text.encode()
    if source == "blob":
        return _blob(text, mark, sources.images)
    path = (sources.directory / text).resolve()
    if not path.is_relative_to(sources.directory.resolve()):
        raise ScenarioError(f"the file {text} lies outside the scenario's directory", mark)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"can't read {text}: {error.strerror}", mark) from None


def _blob(digest: str, mark: Mark, images: tuple[BuiltImage, ...]) -> bytes:
    for image in images:
        if digest in image.blobs:
            return image.blobs[digest].read_bytes()
        for manifest in image.manifests:
            if manifest.digest == digest:
                return manifest.data
    known = ", ".join(image.name for image in images) or "none"
    raise ScenarioError(f"no image of the scenario has the blob {digest} (images: {known})", mark)


def query_text(query: dict[str, Any]) -> str:
    """Return `query` percent-encoded, without the question mark.

    Lists repeat the name; true and false are written so; mappings become JSON (as `filters` wants); null
    gives the bare name.
    """
    parts: list[str] = []
    for name, value in query.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                parts.append(quote(name, safe=""))
                continue
            text = item if isinstance(item, str) else compact(item).decode()
            parts.append(f"{quote(name, safe='')}={quote(text, safe='')}")
    return "&".join(parts)


def auth_header(auth: Any) -> str:
    """Return `auth` as X-Registry-Auth wants it: JSON in URL-safe base64 with padding. A string is taken
    as it is.
    """
    if isinstance(auth, str):
        return auth
    return base64.urlsafe_b64encode(compact(auth)).decode("ascii")


def words(values: Sequence[Any], mark: Mark) -> list[str]:
    """Return the words of a command line; one that is a list stands for its elements. Raises ScenarioError as `word`."""
    found: list[str] = []
    for value in values:
        found += [word(item, mark) for item in value] if isinstance(value, list) else [word(value, mark)]
    return found


def word(value: Any, mark: Mark) -> str:
    """Return a word of a command line or a variable of an environment: text, or a number or flag as text.

    Raises ScenarioError for anything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ScenarioError(f"a word of a command line must be a string or a number, not {value!r}", mark)
