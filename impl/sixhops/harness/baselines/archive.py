"""Baselines as files: an index and a run's transcripts and bodies in a tar archive, compressed with zstd.

    baseline.json                     the index, first, so that it is read without the rest
    transcripts/engine/version.jsonl  as a run leaves them (docs/results.md), sorted, since neighbours are alike
    bodies/<sha256>

`tar --zstd -xf` unpacks one as well. The index is `{"sixhops-baseline": 1, "name", "engine", "recorded", "suite", "target",
"counts", "scenarios": {id: {"digest", "verdict", "places"}}}`; `digest` is that of `scenario.digest`,
`places` where it failed.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import zstandard

from sixhops.harness.documents import nearest
from sixhops.harness.errors import UsageError
from sixhops.harness.plugin.results import transcript_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["BASELINES", "Baseline", "Entry", "Recorded", "find_baseline", "list_baselines", "write_archive"]

FORMAT: Final = 1
"""Version of the archive; it changes when a reader of the old one would misread the new."""

BASELINES: Final = Path(__file__).parent / "data"
"""Where the baselines are that come with the package."""

SUFFIX: Final = ".tar.zst"
_INDEX: Final = "baseline.json"
#: Scenarios that are alike may lie far apart: the window is as large as zstd reads without being told (--long=27).
_WINDOW: Final = 27
_LEVEL: Final = 22


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index says of a scenario: the digest of what it did, its verdict, and the places where it failed."""

    digest: str
    verdict: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a baseline's index says.

    `engine`: the version that it told; `recorded`: when (RFC 3339, UTC); `suite`: the version of sixhops that ran; `target`:
    as in a transcript's header; `counts` by verdict; `scenarios` by id.
    """

    name: str
    engine: str
    recorded: str
    suite: str
    target: dict[str, Any]
    counts: dict[str, int]
    scenarios: dict[str, Entry]

    def to_data(self) -> dict[str, Any]:
        """Return the index as JSON data."""
        return {
            "sixhops-baseline": FORMAT,
            "name": self.name,
            "engine": self.engine,
            "recorded": self.recorded,
            "suite": self.suite,
            "target": self.target,
            "counts": self.counts,
            "scenarios": {
                name: {"digest": entry.digest, "verdict": entry.verdict, "places": list(entry.places)}
                for name, entry in sorted(self.scenarios.items())
            },
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Recorded:
        """Undo `to_data`. Raises ValueError, KeyError or TypeError for something else."""
        if data["sixhops-baseline"] != FORMAT:
            raise ValueError(f"it is of format {data['sixhops-baseline']!r}, and this sixhops reads {FORMAT}")
        return cls(
            name=str(data["name"]),
            engine=str(data["engine"]),
            recorded=str(data["recorded"]),
            suite=str(data["suite"]),
            target=dict(data["target"]),
            counts={str(word): int(count) for word, count in data["counts"].items()},
            scenarios={
                str(name): Entry(str(entry["digest"]), str(entry["verdict"]), tuple(entry["places"]))
                for name, entry in data["scenarios"].items()
            },
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline's file, and what its index says."""

    path: Path
    recorded: Recorded

    @property
    def name(self) -> str:
        """Return its name."""
        return self.recorded.name

    def unpack(self, folder: Path, wanted: frozenset[str] | None = None) -> Path:
        """Write its run into `folder` (`wanted`: only these scenarios' transcripts) and return the folder `transcripts`.

        Raises UsageError when the archive is damaged or the folder can't be written.
        """
        left_out = {
            f"transcripts/{transcript_name(name)}"
            for name in self.recorded.scenarios
            if wanted is not None and name not in wanted
        }
        try:
            with _reading(self.path) as archive:
                for member in archive:
                    if member.name != _INDEX and member.name not in left_out:
                        _unpack(archive, member, folder)
        except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
            raise UsageError(f"the baseline {self.path} is damaged: {error}") from error
        except OSError as error:
            raise UsageError(
                f"the baseline {self.name} can't be unpacked to {folder}: {error.strerror}"
            ) from error
        (folder / "transcripts").mkdir(exist_ok=True)
        return folder / "transcripts"


def list_baselines(folder: Path = BASELINES) -> list[Baseline]:
    """Return the baselines in a folder, by name. Raises UsageError for a file that is none."""
    return [_read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def find_baseline(name: str, folder: Path = BASELINES) -> Baseline:
    """Return the baseline that is called `name`, or in the file of this name. Raises UsageError when there is none."""
    path = Path(name) if name.endswith(SUFFIX) else folder / f"{name}{SUFFIX}"
    if not path.is_file():
        names = [item.name.removesuffix(SUFFIX) for item in sorted(folder.glob(f"*{SUFFIX}"))]
        known = f"; there are {', '.join(names)}" if names else "; none comes with this sixhops"
        raise UsageError(f"there is no baseline {name!r}{nearest(name, names) or known}")
    return _read(path)


def _read(path: Path) -> Baseline:
    try:
        with _reading(path) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None and member.name == _INDEX else None
            if file is None:
                raise ValueError(f"it does not begin with {_INDEX}")
            return Baseline(path, Recorded.from_data(json.loads(file.read())))
    except OSError as error:
        raise UsageError(f"the baseline {path} can't be read: {error.strerror or error}") from error
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no baseline of this version of sixhops: {error}") from error


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    with (
        path.open("rb") as file,
        zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW).stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        yield archive


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a member below `folder`: a file with a plain path, as `write_archive` makes them.

    Not by `extract`, whose filters Python 3.11 has only since 3.11.4. Raises TarError for anything else.
    """
    source = archive.extractfile(member) if member.isreg() else None
    path = PurePosixPath(member.name)
    if source is None or path.is_absolute() or ".." in path.parts:
        raise tarfile.TarError(f"{member.name!r} is no member of a baseline")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    with (folder / path).open("wb") as target:
        shutil.copyfileobj(source, target)


def write_archive(
    path: Path, recorded: Recorded, transcripts: Mapping[str, bytes], bodies: Iterable[Path]
) -> None:
    """Write a baseline: `transcripts` by their path below the folder of that name, and the files of bodies.

    The file appears under its name when it is whole; what is written depends on nothing but what is given. Raises UsageError
    when it can't be written.
    """
    bodies = sorted(bodies, key=lambda item: item.name)
    size = sum(map(len, transcripts.values())) + sum(body.stat().st_size for body in bodies)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=max(20, min(_WINDOW, size.bit_length())), enable_ldm=True, write_checksum=True
    )
    index = json.dumps(recorded.to_data(), ensure_ascii=False).encode()
    moment = datetime.fromisoformat(recorded.recorded).timestamp()
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            part.open("wb") as file,
            zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, _INDEX, index, moment)
            for name, data in sorted(transcripts.items()):
                _add(archive, f"transcripts/{name}", data, moment)
            for body in bodies:
                _add(archive, f"bodies/{body.name}", body.read_bytes(), moment)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"the baseline {path} can't be written: {error.strerror}") from error


def _add(archive: tarfile.TarFile, name: str, data: bytes, moment: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), int(moment), 0o644
    archive.addfile(member, io.BytesIO(data))


def counts_of(entries: Iterable[Entry]) -> dict[str, int]:
    """Return how many scenarios have each verdict."""
    return dict(sorted(Counter(entry.verdict for entry in entries).items()))
