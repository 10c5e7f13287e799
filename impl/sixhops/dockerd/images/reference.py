"""Names of images: `hello-world`, `127.0.0.1:5000/team/app:1.2`, `busybox@sha256:...`, in their long and short forms.

Grammar: distribution's reference package documentation; the messages are the engine's own
(`POST /images/create` and `POST /containers/create` with malformed names on dockerd 20.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sixhops.dockerd.errors import invalid
from sixhops.wire.image import is_digest

__all__ = ["DEFAULT_DOMAIN", "Reference", "parse", "with_tag_or_digest"]

DEFAULT_DOMAIN = "docker.io"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_HEX_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalized name: `domain` (`docker.io`), `path` (`library/hello-world`), and a tag or a digest, or neither."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Return the long name without tag and digest: `docker.io/library/hello-world`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Return the name as people write it: `hello-world`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return rest if "/" not in rest else self.path

    @property
    def canonical(self) -> str:
        """Return the long form with tag or digest; this is the key under which the store keeps it."""
        return self.name + self._suffix()

    @property
    def familiar(self) -> str:
        """Return the short form with tag or digest."""
        return self.familiar_name + self._suffix()

    def tagged(self, tag: str) -> Reference:
        """Return the same name with `tag`. Raises EngineError 400 for a tag that can't be."""
        if not _TAG.fullmatch(tag):
            raise invalid("invalid tag format")
        return replace(self, tag=tag, digest="")

    def at(self, digest: str) -> Reference:
        """Return the same name at `digest`."""
        return replace(self, tag="", digest=digest)

    def or_latest(self) -> Reference:
        """Return the reference, with tag `latest` when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    def _suffix(self) -> str:
        if self.digest:
            return f"@{self.digest}"
        return f":{self.tag}" if self.tag else ""


def parse(text: str) -> Reference:
    """Read what a user wrote. Raises EngineError 400 with the engine's message."""
    if _HEX_ID.fullmatch(text):
        raise invalid(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    body, at, digest = remainder.partition("@")
    tag = ""
    slash, colon = body.rfind("/"), body.rfind(":")
    if colon > slash:
        body, tag = body[:colon], body[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _malformed(remainder)
    if at and not _DIGEST.fullmatch(digest):
        raise _malformed(remainder)
    if at and not is_digest(digest):
        raise invalid(
            "invalid checksum digest length"
            if digest.startswith("sha256:")
            else "unsupported digest algorithm"
        )
    if not _PATH.fullmatch(body) or not _DOMAIN.fullmatch(domain):
        raise _malformed(body)
    if len(f"{domain}/{body}") > _LONGEST_NAME:
        raise invalid(f"repository name must not be more than {_LONGEST_NAME} characters")
    return Reference(domain, body, "" if at else tag, digest)


def with_tag_or_digest(image: str, tag: str) -> Reference:
    """Return what `fromImage` and `tag` of a request name together; `tag` may be empty or a digest.

    Raises EngineError 400. Without a tag the reference has none, as the answer's last line shows the name without one.
    """
    reference = parse(image.removesuffix(":"))
    if not tag:
        return reference
    return reference.at(tag) if is_digest(tag) else reference.tagged(tag)


def _malformed(name: str) -> Exception:
    repository = name.partition("@")[0]
    colon = repository.rfind(":")
    if colon > repository.rfind("/"):
        repository = repository[:colon]
    # bytes that are no text have become U+FFFD; Go's lower case changes them too, and so its check speaks of case
    if repository != repository.lower() or "\ufffd" in repository:
        return invalid("invalid reference format: repository name must be lowercase")
    return invalid("invalid reference format")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_host = bool(slash) and (
        any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()
    )
    domain, remainder = (first, rest) if is_host else (DEFAULT_DOMAIN, text)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder
