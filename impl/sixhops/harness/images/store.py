"""The cache of built layers and other blobs: content by digest, and which layer recipe gave which content.

    <cache>/blobs/sha256/<hex>     content
    <cache>/layers/<key>.json      {digest, size, diff_id}; the key is the digest of the layer's recipe and
    programs <cache>/programs/              compiled programs

Everything appears by rename, whole, so processes that build the same at once agree and none sees half a file.

The compressed bytes depend on the compressor as well as on its input: zlib and its replacements promise no
equal output. So the version of the compressor is part of a layer's key, and equal digests hold among
machines with equal compressors and programs. Scenarios never spell a digest out, they say `${images...}`; an
uncompressed digest (diff id) depends on the entries and programs alone. The alternative, gzip with stored
blocks, would be equal everywhere and would leave the engines' decompression untested.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import zstandard

from sixhops.harness.images.tar import tar_stream
from sixhops.wire.image import EMPTY_LAYER, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.images.recipe import Layer
    from sixhops.harness.images.toolbox import Toolbox

__all__ = ["BlobStore", "StoredLayer", "uncompressed"]

_FORMAT: Final = 2  # goes up whenever the tar writer or a compressor's setting changes
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer blob: digest and size in bytes as it travels, and the digest of the tar inside."""

    digest: str
    size: int
    diff_id: str


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class BlobStore:
    """Layers and blobs under one cache directory, shared by processes."""

    def __init__(self, cache: Path, toolbox: Toolbox) -> None:
        self._root = cache
        self._toolbox = toolbox
        for name in ("blobs/sha256", "layers"):
            (cache / name).mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Return where the content `digest` is, or would be."""
        return self._root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def put(self, data: bytes) -> str:
        """Keep `data`; return its digest."""
        digest = digest_of(data)
        if not self._holds(digest, len(data)):
            self._write(self.path(digest), data)
        return digest

    def put_empty_layer(self) -> str:
        """Keep the blob that schema1 manifests name for steps without files; return its digest."""
        return self.put(EMPTY_LAYER)

    def layer(self, layer: Layer) -> StoredLayer:
        """Return the blob of `layer`, building it unless it is there. Content is streamed to disk."""
        note = self._root / "layers" / f"{self._key(layer)}.json"
        try:
            stored = StoredLayer(**json.loads(note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            stored = None  # not built yet, or the note is damaged: building again repairs it
        if stored is not None and self._holds(stored.digest, stored.size):
            return stored
        stored = self._build(layer)
        self._write(note, json.dumps(asdict(stored)).encode())
        return stored

    def _build(self, layer: Layer) -> StoredLayer:
        inner, outer, size = hashlib.sha256(), hashlib.sha256(), 0
        compressor = _compressor(layer.compression)
        with tempfile.NamedTemporaryFile(dir=self._root / "blobs", delete=False) as file:
            try:
                for piece in tar_stream(layer.entries, self._toolbox):
                    inner.update(piece)
                    data = compressor.compress(piece)
                    outer.update(data)
                    size += file.write(data)
                data = compressor.flush()
                outer.update(data)
                size += file.write(data)
                file.flush()
                digest = f"sha256:{outer.hexdigest()}"
                Path(file.name).replace(self.path(digest))
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        return StoredLayer(digest, size, f"sha256:{inner.hexdigest()}")

    def _key(self, layer: Layer) -> str:
        entries: list[Any] = []
        for entry in layer.entries:
            document = asdict(entry)
            del document["mark"]  # where it is written changes nothing in it
            if entry.content is not None:
                document["content"]["data"] = entry.content.data.hex()
                if entry.content.kind in {"program", "busybox"}:
                    document["content"]["digest"] = self._toolbox.digest(entry.content.name, entry.mark)
            entries.append(document)
        compressor = {
            "gzip": f"zlib {zlib.ZLIB_RUNTIME_VERSION} level {_GZIP_LEVEL}",
            "zstd": f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {_ZSTD_LEVEL}",
            "none": "none",
        }[layer.compression]
        text = json.dumps([_FORMAT, compressor, entries], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _holds(self, digest: str, size: int) -> bool:
        path = self.path(digest)
        return path.is_file() and path.stat().st_size == size

    def _write(self, target: Path, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._root, delete=False) as file:
            file.write(data)
        Path(file.name).replace(target)


def uncompressed(path: Path) -> Iterator[bytes]:
    """Yield the tar inside of a layer blob, whichever compression its first bytes show."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == b"\x28\xb5\x2f\xfd":
            yield from zstandard.ZstdDecompressor().read_to_iter(file)
            return
        unzip = zlib.decompressobj(31) if magic[:2] == b"\x1f\x8b" else None
        while piece := file.read(_PIECE):
            yield unzip.decompress(piece) if unzip else piece
        if unzip:
            yield unzip.flush()


def _compressor(name: str) -> _Compressor:
    if name == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)  # its header has mtime 0 and no name
    if name == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, threads=0).compressobj()
    return _Plain()
