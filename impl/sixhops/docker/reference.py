"""Image names as people write them: hello-world means docker.io/library/hello-world:latest.

The grammar is that of the distribution project's reference package: DOMAIN/PATH[:TAG][@DIGEST]; the domain is told from
a path's first part by a dot, a colon, or being "localhost".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sixhops.docker.errors import DockerError

__all__ = ["Reference", "parse"]

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_NAME_LIMIT = 255
_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name. `path` has `library/` in front for the Hub's own images."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def familiar_name(self) -> str:
        """Return the short name without tag and digest."""
        if self.domain != _HUB:
            return f"{self.domain}/{self.path}"
        short = self.path.removeprefix("library/")
        return short if "/" not in short else self.path

    @property
    def familiar(self) -> str:
        """Return the short name with tag and digest."""
        return self.familiar_name + self._suffix()

    @property
    def full(self) -> str:
        """Return the name with domain, tag and digest."""
        return f"{self.domain}/{self.path}{self._suffix()}"

    def tagged(self) -> Reference:
        """Return the name with tag `latest` when it says neither tag nor digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, "latest")

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Parse an image name. Raises DockerError with docker's message."""
    if _IDENTIFIER.fullmatch(text):
        raise DockerError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    first, slash, rest = text.partition("/")
    if not slash or (
        not any(sign in first for sign in ".:") and first != "localhost" and first.lower() == first
    ):
        domain, rest = _HUB, text
    else:
        domain = first
    if domain in (_HUB, "index.docker.io"):
        domain = _HUB
        if "/" not in rest:
            rest = f"library/{rest}"
    remote = rest.split(":", 1)[0]
    if remote.lower() != remote:
        raise DockerError("invalid reference format: repository name must be lowercase")
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if not found:
        raise DockerError("invalid reference format")
    if len(found["name"]) > _NAME_LIMIT:
        raise DockerError(f"repository name must not be more than {_NAME_LIMIT} characters")
    return Reference(domain, found["name"].partition("/")[2], found["tag"] or "", found["digest"] or "")
