"""Pushes built images with the registry's HTTP API V2; what is there already is not sent again."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import httpx

from sixhops.harness.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sixhops.harness.images.built import BuiltImage, BuiltManifest
    from sixhops.harness.target import Address

__all__ = ["PushReport", "push"]

_TIMEOUT: Final = 60.0
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push sent and what it found there: digests of blobs, and digests or tags of manifests."""

    uploaded: tuple[str, ...]
    skipped: tuple[str, ...]


def push(
    built: BuiltImage,
    address: Address,
    *,
    repository: str | None = None,
    tags: tuple[str, ...] | None = None,
    headers: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> PushReport:
    """Push `built` to the registry at `address`: blobs, then manifests by digest, then the tagged one.

    `repository` and `tags` replace the recipe's (not for schema1, which has both inside, signed); `headers`
    go with every request, such as Authorization. A request may take 60 s. Raises TargetError saying what was
    refused, and how.
    """
    if transport is None and address.unix is not None:
        _reach(address.unix, address.text)
    if transport is None:
        # without TLS there is nothing to verify, and loading the machine's certificates takes 30 ms
        verify = address.tls if address.tls is not None else False
        transport = httpx.HTTPTransport(uds=str(address.unix) if address.unix else None, verify=verify)
    scheme = "https" if address.tls else "http"
    host = (
        "localhost" if address.unix else f"[{address.host}]" if ":" in (address.host or "") else address.host
    )
    port = f":{address.port}" if address.port and not address.unix else ""
    with httpx.Client(
        transport=transport,
        base_url=f"{scheme}://{host}{port}",
        timeout=_TIMEOUT,
        headers=headers,
        trust_env=False,
    ) as client:
        pusher = _Push(client, address.text, repository or built.repository)
        return pusher.run(built, tags or built.tags)


@dataclass(frozen=True, slots=True)
class _Push:
    client: httpx.Client
    where: str
    repository: str

    def run(self, built: BuiltImage, tags: tuple[str, ...]) -> PushReport:
        uploaded: list[str] = []
        skipped: list[str] = []
        for digest, path in built.blobs.items():
            (uploaded if self._blob(digest, path) else skipped).append(digest)
        for manifest in built.manifests[:-1]:
            (uploaded if self._manifest(manifest, manifest.digest) else skipped).append(manifest.digest)
        for tag in tags:
            (uploaded if self._manifest(built.top, tag) else skipped).append(tag)
        return PushReport(tuple(uploaded), tuple(skipped))

    def _blob(self, digest: str, path: Path) -> bool:
        place = f"/v2/{self.repository}/blobs/{digest}"
        if self._ask("HEAD", place, {200, 404}).status_code == 200:
            return False
        begun = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/", {202})
        location = begun.headers.get("location")
        if not location:
            raise TargetError(f"registry {self.where}: an upload began without a Location header")
        # The location may point to another host name of the same registry; only its path and query are
        # followed.
        target = httpx.URL(urljoin(str(begun.url), location)).copy_merge_params({"digest": digest})
        headers = {"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"}
        self._ask("PUT", target.raw_path.decode("ascii"), {201}, _pieces(path), headers)
        return True

    def _manifest(self, manifest: BuiltManifest, reference: str) -> bool:
        place = f"/v2/{self.repository}/manifests/{reference}"
        accepted = {"Accept": manifest.media_type}
        there = self._ask("HEAD", place, {200, 404}, headers=accepted)
        if there.status_code == 200 and there.headers.get("docker-content-digest") == manifest.digest:
            return False
        done = self._ask("PUT", place, {201}, manifest.data, {"Content-Type": manifest.media_type})
        seen = done.headers.get("docker-content-digest", manifest.digest)
        if seen != manifest.digest:
            raise TargetError(
                f"registry {self.where}: PUT {place} stored {seen} instead of {manifest.digest}"
            )
        return True

    def _ask(
        self,
        method: str,
        place: str,
        expected: set[int],
        content: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            response = self.client.request(method, place, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise TargetError(f"registry {self.where}: {method} {place}: {error}") from error
        if response.status_code not in expected:
            wanted = " or ".join(map(str, sorted(expected)))
            answer = response.text.strip()[:500]
            raise TargetError(
                f"registry {self.where}: {method} {place} answered {response.status_code} "
                f"instead of {wanted}: {answer}"
            )
        return response


def _reach(path: Path, where: str) -> None:
    # httpcore 1.0 leaves its socket open when a unix path can't be connected, so that is found out before.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            probe.connect(str(path))
        except OSError as error:
            raise TargetError(f"registry {where}: can't connect: {error.strerror or error}") from error


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
