"""The log drivers json-file, local and none: which options each takes, and the log that it makes of them.

Options are looked at twice, as in dockerd: their names when the container is created (`check_options`), their values when
the log is opened for the first time, at the start. Facts: daemon/logger of moby 20.10.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.logs import tag as logtag
from sixhops.dockerd.containers.logs.files import LogFiles
from sixhops.dockerd.containers.logs.formats import JsonFormat, LocalFormat
from sixhops.dockerd.containers.logs.ring import DEFAULT_LIMIT, Ring
from sixhops.dockerd.errors import EngineError, invalid, system
from sixhops.dockerd.goquote import quote
from sixhops.dockerd.units import parse_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from sixhops.dockerd.containers.logs.records import Record, Selection
    from sixhops.dockerd.containers.model import Container

__all__ = ["LOG_DRIVERS", "Log", "check_options", "log_of"]

#: In the order in which /info names them.
LOG_DRIVERS = ("json-file", "local", "none")
_COMMON = frozenset({"mode", "max-buffer-size"})
_OPTIONS = {
    "json-file": frozenset(
        {"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"}
    ),
    "local": frozenset({"max-file", "max-size", "compress"}),
}
_LOCAL_SIZE = 20 * 1024 * 1024
_LOCAL_COUNT = 5
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_SHORT = 12


def check_options(driver: str, options: Mapping[str, str]) -> None:
    """Check what can be checked before a log is made. Raises EngineError 400."""
    if driver == "none":
        return
    mode = options.get("mode", "")
    if mode not in {"", "blocking", "non-blocking"}:
        raise invalid(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            parse_size(options["max-buffer-size"])
        except ValueError as error:
            raise invalid(f"error parsing option max-buffer-size: {error}") from error
    if driver not in LOG_DRIVERS:
        raise invalid(f"error looking up logging plugin {driver}: plugin {quote(driver)} not found")
    for name in options:
        if name not in _OPTIONS[driver] | _COMMON:
            where = f"{driver} log driver" if driver == "json-file" else f"log driver {driver}"
            raise invalid(f"unknown log opt '{name}' for {where}")


@dataclass(frozen=True, slots=True)
class _Made:
    files: LogFiles
    attributes: dict[str, str]
    ring: Ring | None


class Log:
    """The log of one container. Its options are read when it is used first, since a bad value is the start's error.

    Writing goes to a file at once; with the mode non-blocking through a `Ring`, so that it never waits for the disk.
    """

    def __init__(self, directory: Path, container: Container) -> None:
        """`directory` is the container's own."""
        self._directory = directory
        self._container = container
        self._made: _Made | None = None

    @property
    def driver(self) -> str:
        """Return the driver's name."""
        return str(self._container.host_config["LogConfig"]["Type"])

    @property
    def path(self) -> Path:
        """Return the current file's path."""
        if self.driver == "local":
            return self._directory / "local-logs" / "container.log"
        return self._directory / f"{self._directory.name}-json.log"

    @property
    def is_open(self) -> bool:
        """Whether somebody writes, so that following makes sense."""
        return self._made is not None and self._made.files.is_open

    def open(self) -> None:
        """Begin to write. Raises EngineError 500 for options that make no sense."""
        try:
            made = self._make()
        except EngineError as error:
            raise system(f"failed to initialize logging driver: {error.message}") from error
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        if made.ring is not None:
            made.ring.finally_(None)
        made.files.open()

    def write(self, records: list[Record]) -> None:
        """Append records. Raises OSError (a full disk)."""
        if self._made is None:
            return
        attributes = self._made.attributes
        if attributes:
            records = [replace(record, attributes=attributes) for record in records]
        if self._made.ring is not None:
            self._made.ring.put(records)
        else:
            self._made.files.write(records)

    def close(self) -> None:
        """End writing, once what waits is written; followers end with it."""
        if self._made is not None:
            if self._made.ring is not None:
                self._made.ring.finally_(self._made.files.close)
            else:
                self._made.files.close()
            # labels and names may be others at the next start
            self._made = replace(self._made, attributes={})

    async def settled(self) -> None:
        """Wait until all that was written is in the file, or lost."""
        if self._made is not None and self._made.ring is not None:
            await self._made.ring.settled()

    def read(self, selection: Selection) -> Iterator[Record]:
        """Yield stored records. Raises EngineError 500 as `open`."""
        return self._make().files.read(selection)

    def follow(self, selection: Selection) -> AsyncIterator[Record]:
        """Yield stored records, and then new ones until writing ends."""
        return self._make().files.follow(selection)

    def _make(self) -> _Made:
        files = self._made.files if self._made is not None else None
        if self.is_open and self._made is not None:
            return self._made
        options = self._container.host_config["LogConfig"]["Config"] or {}
        make = _local_files if self.driver == "local" else _json_files
        attributes = _attributes(options, self._container) if self.driver == "json-file" else {}
        files = files or make(self.path, options)
        ring = self._made.ring if self._made is not None else None
        if ring is None and options.get("mode") == "non-blocking":
            limit = parse_size(options["max-buffer-size"]) if "max-buffer-size" in options else DEFAULT_LIMIT
            ring = Ring(limit, files.append)
        self._made = _Made(files, attributes, ring)
        return self._made


def log_of(directory: Path, container: Container) -> Log | None:
    """Return a container's log, None for the driver none."""
    return None if container.host_config["LogConfig"]["Type"] == "none" else Log(directory, container)


def _json_files(path: Path, options: Mapping[str, str]) -> LogFiles:
    limit = _plain_size(options["max-size"]) if "max-size" in options else None
    if limit is not None and limit <= 0:
        raise system("max-size must be a positive number")
    count = _count(options["max-file"]) if "max-file" in options else 1
    if count < 1:
        raise system("max-file cannot be less than 1")
    compress = _bool(options["compress"]) if "compress" in options else False
    if compress and (count == 1 or limit is None):
        raise system("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogFiles(path, JsonFormat(), limit, count, compress=compress)


def _local_files(path: Path, options: Mapping[str, str]) -> LogFiles:
    limit, count, compress = _LOCAL_SIZE, _LOCAL_COUNT, True
    if "max-size" in options:
        limit = _told(
            f"invalid value for max-size: {options['max-size']}: ", partial(_plain_size, options["max-size"])
        )
    if "max-file" in options:
        count = _told(
            f"invalid value for max-file: {options['max-file']}: ", partial(_count, options["max-file"])
        )
    if "compress" in options:
        compress = _told("error reading compress log option: ", partial(_bool, options["compress"]))
    if count < 0:
        raise system("max file count cannot be less than 0")
    if compress and count <= 1:
        raise system("compression cannot be enabled when max file count is 1")
    return LogFiles(path, LocalFormat(), limit or None, max(1, count), compress=compress)


def _told(prefix: str, read: partial[Any]) -> Any:
    try:
        return read()
    except EngineError as error:
        raise system(prefix + error.message) from error


def _plain_size(text: str) -> int:
    """Return a size in decimal units, as this option has them in dockerd."""
    try:
        return parse_size(text, 1000)
    except ValueError as error:
        raise system(str(error)) from error


def _count(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise system(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    return int(text)


def _bool(text: str) -> bool:
    if text not in _BOOLS:
        raise system(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")
    return _BOOLS[text]


def _attributes(options: Mapping[str, str], container: Container) -> dict[str, str]:
    """Return what stands beside every record: the labels and variables that the options name, and the tag."""
    labels: dict[str, str] = dict(container.config["Labels"] or {})
    variables = dict(entry.split("=", 1) for entry in container.config["Env"] or () if "=" in entry)
    found: dict[str, str] = {}
    for known, key in ((labels, "labels"), (variables, "env")):
        found |= {name: known[name] for name in options.get(key, "").split(",") if name in known}
        pattern = options.get(f"{key}-regex", "")
        if pattern:
            expression = _expression(pattern)
            found |= {name: value for name, value in known.items() if expression.search(name)}
    tag = logtag.render(options.get("tag", ""), _facts(container, options, labels))
    return found | ({"tag": tag} if tag else {})


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        if "missing )" in error.msg or "unterminated subpattern" in error.msg:
            raise system(f"error parsing regexp: missing closing ): `{pattern}`") from error
        raise system(f"error parsing regexp: {error.msg}: `{pattern}`") from error


def _facts(container: Container, options: Mapping[str, str], labels: dict[str, str]) -> dict[str, Any]:
    image = str(container.config["Image"])
    digest = container.image.removeprefix("sha256:")
    return {
        "Config": dict(options),
        "ContainerID": container.id,
        "FullID": container.id,
        "ID": container.id[:_SHORT],
        "ContainerName": f"/{container.name}",
        "Name": container.name,
        "ContainerEntrypoint": container.path,
        "ContainerArgs": list(container.arguments),
        "Command": " ".join([container.path, *container.arguments]),
        "ContainerImageID": container.image,
        "ImageFullID": container.image,
        "ImageID": f"sha256:{digest}"[:_SHORT],
        "ContainerImageName": image,
        "ImageName": image,
        "ContainerEnv": list(container.config["Env"] or ()),
        "ContainerLabels": labels,
        "DaemonName": "docker",
    }
