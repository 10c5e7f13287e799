"""Layers on disk: read-only layers by chain id, and the writable layer pair of each container, as overlay2 keeps them.

```
overlay2/<cache id>/diff     the files of one layer
overlay2/<cache id>/link     its short name; overlay2/l/<short name> -> ../<cache id>/diff
overlay2/<cache id>/lower    the short names of the layers below, for all but the lowest
overlay2/<cache id>/tar-split  what the layer's tar has besides the files' content
overlay2/<cache id>/work     for writable layers
overlay2/<cache id>/merged   where a container's root is mounted
```

The layout is Docker's, so `GraphDriver.Data` of an inspect means what people know. Short names keep the
options of a mount below
one page even with 127 layers; they are relative, so they need a working directory of their own: mounts are
made by one thread that has
unshared it (CLONE_FS).

A layer is whole or absent: it is unpacked under a temporary name, renamed, and only then written into the
state.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import string
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from sixhops.dockerd.errors import system
from sixhops.dockerd.images.unpacking import tarsplit
from sixhops.dockerd.removal import Removals
from sixhops.linux import mounts
from sixhops.linux.namespaces import unshare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sixhops.dockerd.state import State

__all__ = ["SPLIT", "Layer", "LayerStore", "WritableLayer"]

_CLONE_FS = 0x00000200
_SHORT_NAME = string.ascii_uppercase + string.digits[2:8]
#: The side file from which, with the tree, the layer's tar is put together again (see `tarsplit`).
SPLIT = "tar-split"
_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Layer:
    """One read-only layer; `size` counts the bytes of its own files."""

    chain_id: str
    parent: str
    diff_id: str
    cache_id: str
    size: int


@dataclass(frozen=True, slots=True)
class WritableLayer:
    """What overlayfs needs for a container, as absolute paths; `lower` is topmost first."""

    lower: tuple[str, ...]
    upper: str
    work: str
    merged: str

    def document(self) -> dict[str, str]:
        """Return `GraphDriver.Data` of an inspect."""
        return {
            "LowerDir": ":".join(self.lower),
            "MergedDir": self.merged,
            "UpperDir": self.upper,
            "WorkDir": self.work,
        }


class LayerStore:
    """The layers of one engine. Methods do file system work and may block; call them on a worker thread."""

    def __init__(self, root: Path, state: State) -> None:
        self._root = root
        self._state = state
        self.removals = Removals()
        (root / "l").mkdir(parents=True, exist_ok=True)
        self._mounter = ThreadPoolExecutor(1, thread_name_prefix="mounts", initializer=self._enter)
        self._readers: Counter[str] = Counter()
        self._unwanted: set[str] = set()
        self._turn = threading.Lock()
        self._claims: Counter[str] = Counter()
        self._claiming = threading.Lock()
        self._sweep()
        self.collect()

    def close(self) -> None:
        """End the threads. Mounts of running containers stay."""
        self.removals.close()
        self._mounter.shutdown()

    def get(self, chain_id: str) -> Layer | None:
        """Return a layer by chain id, or None."""
        row = self._state.row(
            "SELECT chain_id, parent, diff_id, cache_id, size FROM layers WHERE chain_id = ?", chain_id
        )
        return None if row is None else Layer(*row)  # type: ignore[arg-type] # the columns are typed by the schema

    def chain(self, chain_id: str) -> list[Layer]:
        """Return a layer and all below it, topmost first. KeyError when one is missing."""
        found: list[Layer] = []
        while chain_id:
            layer = self.get(chain_id)
            if layer is None:
                raise KeyError(chain_id)
            found.append(layer)
            chain_id = layer.parent
        return found

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every layer's own files, by chain id."""
        rows = self._state.rows("SELECT chain_id, size FROM layers")
        return {str(chain_id): int(str(size)) for chain_id, size in rows}

    def directories(self, chain_id: str) -> dict[str, str]:
        """Return `GraphDriver.Data` of an image whose topmost layer is `chain_id`. KeyError when it is missing."""
        top, *below = (self._root / layer.cache_id for layer in self.chain(chain_id))
        found = {"LowerDir": ":".join(f"{directory}/diff" for directory in below)} if below else {}
        return found | {"MergedDir": f"{top}/merged", "UpperDir": f"{top}/diff", "WorkDir": f"{top}/work"}

    def open_tar(self, layer: Layer) -> IO[bytes]:
        """Return a file with the very tar that a layer was made of. Raises EngineError 500 when that can't be had."""
        directory = self._root / layer.cache_id
        try:
            return tarsplit.assemble(directory / SPLIT, directory / "diff", layer.diff_id, self._root.parent)
        except tarsplit.SplitError as error:
            raise system(str(error)) from error

    def begin(self) -> Path:
        """Make an empty directory to unpack a layer into; `commit` or `abandon` it."""
        directory = self._root / f"{_UNFINISHED}{secrets.token_hex(8)}"
        (directory / "diff").mkdir(parents=True)
        (directory / "diff").chmod(0o755)
        return directory

    def commit(self, directory: Path, chain_id: str, parent: str, diff_id: str, size: int) -> Layer:
        """Make an unpacked directory the layer `chain_id`; when somebody was quicker, theirs stays and ours goes."""
        existing = self.get(chain_id)
        if existing is not None:
            self.abandon(directory)
            return existing
        cache_id = secrets.token_hex(32)
        self._name(directory, cache_id, self._below(parent))
        directory.rename(self._root / cache_id)
        layer = Layer(chain_id, parent, diff_id, cache_id, size)
        with self._state.change() as database:
            database.execute(
                "INSERT INTO layers VALUES (?, ?, ?, ?, ?)", (chain_id, parent, diff_id, cache_id, size)
            )
        return layer

    def abandon(self, directory: Path) -> None:
        """Remove what `begin` made."""
        shutil.rmtree(directory)

    @contextlib.contextmanager
    def claims(self) -> Iterator[Callable[[str], None]]:
        """Give a function that keeps a layer (by chain id) until the block's end, though no image has it yet."""
        own: list[str] = []

        def claim(chain_id: str) -> None:
            with self._claiming:
                self._claims[chain_id] += 1
            own.append(chain_id)

        try:
            yield claim
        finally:
            with self._claiming:
                self._claims.subtract(own)
                self._claims += Counter()
            self.collect()

    def collect(self) -> list[str]:
        """Remove the layers that no image, no container and nobody else uses; return their chain ids, topmost first."""
        with self._claiming:
            rows = self._state.rows("SELECT chain_id, parent, diff_id, cache_id, size FROM layers")
            layers = {str(row[0]): Layer(*row) for row in rows}  # type: ignore[arg-type] # typed by the schema
            by_cache_id = {layer.cache_id: layer.chain_id for layer in layers.values()}
            used = [str(row[0]) for row in self._state.rows("SELECT DISTINCT chain_id FROM images")]
            used += [by_cache_id[name] for name in self._below_containers() if name in by_cache_id]
            needed: set[str] = set()
            for chain_id in [*used, *self._claims]:
                while chain_id in layers and chain_id not in needed:
                    needed.add(chain_id)
                    chain_id = layers[chain_id].parent
            gone = [layer for chain_id, layer in layers.items() if chain_id not in needed]
            if gone:
                with self._state.change() as database:
                    database.executemany(
                        "DELETE FROM layers WHERE chain_id = ?", [(layer.chain_id,) for layer in gone]
                    )
        for layer in gone:
            self._drop(layer.cache_id)
        return [layer.chain_id for layer in _topmost_first(gone)]

    def _below_containers(self) -> set[str]:
        """Return the cache ids of the layers that containers stand on."""
        found: set[str] = set()
        for row in self._state.rows("SELECT json_extract(document, '$.layer') FROM containers"):
            found |= self._lower_of(f"{row[0]}-init")
        return found

    def _lower_of(self, cache_id: str) -> set[str]:
        try:
            names = (self._root / cache_id / "lower").read_text().split(":")
            return {(self._root / name).readlink().parent.name for name in names}
        except FileNotFoundError:
            return set()

    def diff_ids_of_blob(self, digest: str) -> list[str]:
        """Return the diff ids that a blob was seen to unpack to."""
        return [str(row[0]) for row in self._state.rows("SELECT diff_id FROM blobs WHERE digest = ?", digest)]

    def create_writable(
        self, cache_id: str, chain_id: str, initial: Sequence[tuple[str, str]]
    ) -> WritableLayer:
        """Make the writable pair of a container: `<cache_id>-init` with mount points, `<cache_id>` on top of it.

        `initial`: (path, kind) of what must exist in every container (`file`, `dir`, or `link:target`).
        """
        below = self._below(chain_id)
        init = self._root / f"{cache_id}-init"
        (init / "diff").mkdir(parents=True)
        for path, kind in initial:
            self._prepare(init / "diff", path, kind)
        self._name(init, init.name, below)
        (init / "work").mkdir(mode=0o700)
        upper = self._root / cache_id
        (upper / "diff").mkdir(parents=True)
        (upper / "diff").chmod(0o755)
        (upper / "work").mkdir(mode=0o700)
        (upper / "merged").mkdir(mode=0o700)
        self._name(upper, cache_id, [init.name, *below])
        return self.writable(cache_id)

    def writable(self, cache_id: str) -> WritableLayer:
        """Return the paths of a container's layer."""
        own = self._root / cache_id
        lower = (self._root / cache_id / "lower").read_text().split(":")
        return WritableLayer(
            lower=tuple(str((self._root / name).resolve()) for name in lower),
            upper=str(own / "diff"),
            work=str(own / "work"),
            merged=str(own / "merged"),
        )

    def mount(self, cache_id: str) -> str:
        """Mount a container's root; return where. Raises LinuxError."""
        with self._turn:
            self._unwanted.discard(cache_id)
            return self._mounter.submit(self._mount, cache_id).result()

    def unmount(self, cache_id: str) -> None:
        """Unmount a container's root, once nobody `hold`s it; nothing happens when it is not mounted."""
        with self._turn:
            if self._readers[cache_id]:
                self._unwanted.add(cache_id)
            else:
                self._unmount(cache_id)

    def hold(self, cache_id: str) -> str:
        """Mount a container's root for somebody who only looks at it, whether it runs or not; pair with `release`."""
        with self._turn:
            if not os.path.ismount(self._root / cache_id / "merged"):
                self._unwanted.add(cache_id)
            merged = self._mounter.submit(self._mount, cache_id).result()
            self._readers[cache_id] += 1
            return merged

    def release(self, cache_id: str) -> None:
        """Undo `hold`: the last one unmounts, unless the container has been started meanwhile."""
        with self._turn:
            self._readers[cache_id] -= 1
            if not self._readers[cache_id]:
                del self._readers[cache_id]
                if cache_id in self._unwanted:
                    self._unwanted.remove(cache_id)
                    self._unmount(cache_id)

    def remove_writable(self, cache_id: str) -> None:
        """Remove a container's pair of layers, unmounting it first."""
        with self._turn:  # readers or not: theirs ends with an error
            self._unwanted.discard(cache_id)
            self._unmount(cache_id)
        below = self._lower_of(f"{cache_id}-init")
        # the only part that may refuse to go is what the container wrote (an immutable file, say): the caller must know
        _remove_tree(self._root / cache_id / "diff")
        for name in (cache_id, f"{cache_id}-init"):
            self._unname(name)
            with contextlib.suppress(FileNotFoundError):
                self.removals.take(self._root / name)
        if below and not self._has_image(below):
            self.collect()  # the container was the last that used them

    def _has_image(self, cache_ids: set[str]) -> bool:
        """Tell whether an image's topmost layer is among these."""
        marks = ",".join("?" * len(cache_ids))
        query = (
            "SELECT 1 FROM images JOIN layers ON layers.chain_id = images.chain_id "
            f"WHERE layers.cache_id IN ({marks}) LIMIT 1"
        )
        return self._state.row(query, *cache_ids) is not None

    def size_of_writable(self, cache_id: str) -> int:
        """Return the bytes of the files that a container has written."""
        total = 0
        for directory, _folders, files in os.walk(self._root / cache_id / "diff"):
            for name in files:
                total += os.lstat(f"{directory}/{name}").st_size
        return total

    def _enter(self) -> None:
        unshare(_CLONE_FS)
        os.chdir(self._root)

    def _mount(self, cache_id: str) -> str:
        merged = str(self._root / cache_id / "merged")
        if os.path.ismount(merged):
            return merged
        lower = (self._root / cache_id / "lower").read_text()
        mounts.mount(
            "overlay",
            f"{cache_id}/merged",
            "overlay",
            0,
            f"lowerdir={lower},upperdir={cache_id}/diff,workdir={cache_id}/work",
        )
        return merged

    def _unmount(self, cache_id: str) -> None:
        merged = str(self._root / cache_id / "merged")
        if os.path.ismount(merged):
            mounts.unmount(merged, mounts.MNT_DETACH)

    def _below(self, chain_id: str) -> list[str]:
        return [layer.cache_id for layer in self.chain(chain_id)]

    def _name(self, directory: Path, cache_id: str, below: Sequence[str]) -> None:
        """Give a layer its short name and write down those below it, topmost first."""
        short = "".join(secrets.choice(_SHORT_NAME) for _ in range(26))
        (directory / "link").write_text(short)
        (self._root / "l" / short).symlink_to(f"../{cache_id}/diff")
        if below:
            (directory / "lower").write_text(
                ":".join("l/" + (self._root / name / "link").read_text() for name in below)
            )

    def _prepare(self, root: Path, path: str, kind: str) -> None:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            target.mkdir(exist_ok=True)
        elif kind == "file":
            target.touch(mode=0o755)
        else:
            target.symlink_to(kind.removeprefix("link:"))

    def _drop(self, cache_id: str) -> None:
        self._unname(cache_id)
        _remove_tree(self._root / cache_id)

    def _unname(self, cache_id: str) -> None:
        """Remove a layer's short name, if it has one."""
        with contextlib.suppress(FileNotFoundError):
            (self._root / "l" / (self._root / cache_id / "link").read_text()).unlink()

    def _sweep(self) -> None:
        """Remove what a crash left: unfinished layers, layers that the state does not name, dangling short names."""
        known = {str(row[0]) for row in self._state.rows("SELECT cache_id FROM layers")}
        for entry in self._state.rows("SELECT json_extract(document, '$.layer') FROM containers"):
            known |= {str(entry[0]), f"{entry[0]}-init"}
        for directory in self._root.iterdir():
            if directory.name != "l" and directory.name not in known:
                self.unmount(directory.name)
                shutil.rmtree(directory)
        for link in (self._root / "l").iterdir():
            if not link.exists():
                link.unlink()


def _remove_tree(directory: Path) -> None:
    """Remove a directory with everything in it, unless it is gone already. Raises OSError."""
    if directory.exists():
        shutil.rmtree(directory)


def _topmost_first(layers: Sequence[Layer]) -> list[Layer]:
    """Return layers so that each comes before those below it."""
    by_id = {layer.chain_id: layer for layer in layers}

    def depth(layer: Layer) -> int:
        count = 0
        while layer.parent in by_id:
            layer, count = by_id[layer.parent], count + 1
        return count

    return sorted(layers, key=depth, reverse=True)
