"""The command line and daemon.json together: what the daemon was told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sixhops.dockerd.options import configfile
from sixhops.dockerd.options.checks import STOCK_RUNTIME, check_address, validate, verify
from sixhops.dockerd.options.flags import FLAGS, Flag, pool, read
from sixhops.dockerd.options.model import FlagError, Options, RuntimeProgram
from sixhops.dockerd.units import binary_size, parse_size

__all__ = ["DEFAULT_CONFIG", "parse", "reread"]

DEFAULT_CONFIG = "/etc/docker/daemon.json"
_BY_KEY = {flag.key: flag for flag in FLAGS if flag.key}
#: Flags that daemon.json may name in vain: dockerd looks their names up among its flags, and their values nowhere.
_IN_VAIN = frozenset(flag.name for flag in FLAGS if flag.name != flag.key)


def parse(arguments: list[str]) -> Options:
    """Return what the command line and the configuration file say together. Raises FlagError."""
    options, given = read(arguments)
    for flag in FLAGS:
        if flag.deprecated and flag.name in given:
            sys.stderr.write(f"Flag --{flag.name} has been deprecated, {flag.deprecated}\n")
    if options.help or options.version:
        return options
    keys = _read_file(options, given)
    validate(options)
    verify(options)
    if "tlsverify" in keys or "tlsverify" in given:
        # whatever it is set to
        options.tls = True
    if options.tls_verify is None:
        options.tls_verify = options.tls
    return options


def reread(arguments: list[str]) -> tuple[Options, frozenset[str]]:
    """Return what the configuration file says now, and the keys that are in it. Raises FlagError.

    `arguments` are those the daemon was started with: what is set there can't be set in the file as well.
    """
    _, given = read(arguments)
    options = Options()
    options.config_file = given.get("config-file", "")
    keys = _read_file(options, given, is_reread=True)
    try:
        validate(options)
    except FlagError as error:
        raise FlagError(f"file configuration validation failed: {error}") from error
    return options, keys


def _read_file(options: Options, given: dict[str, Any], *, is_reread: bool = False) -> frozenset[str]:
    """Take what the configuration file says; return the keys that are in it. What is reread, the caller validates."""
    name = options.config_file or DEFAULT_CONFIG
    prefix = f"unable to configure the Docker daemon with file {name}: "
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        if not options.config_file:
            return frozenset()
        raise FlagError(f"{prefix}open {name}: no such file or directory") from None
    kinds = {flag.key: flag.kind for flag in FLAGS if flag.key}
    flagged = {
        flag.key: binary_size(given[flag.name]) if flag.kind == "size" else given[flag.name]
        for flag in FLAGS
        if flag.key and flag.name in given
    }
    try:
        value = configfile.read(data, kinds, flagged, _IN_VAIN)
    except configfile.ConfigError as error:
        raise FlagError(f"{prefix}{error}") from error
    if value.get("graph") and value.get("data-root"):
        raise FlagError(f'{prefix}cannot specify both "graph" and "data-root" config file options')
    alone = replace(Options(), runtimes=dict(options.runtimes))
    for key, member in value.items():
        if member is None:
            continue
        if key not in _BY_KEY:
            continue
        flag = _BY_KEY[key]
        try:
            member = _value(flag, member, options)
        except FlagError as error:
            raise FlagError(f"{prefix}{error}") from error
        setattr(options, flag.attribute, member)
        setattr(alone, flag.attribute, member)
    if not is_reread:
        try:
            _validate_file(alone)
        except FlagError as error:
            raise FlagError(f"{prefix}configuration validation from file failed: {error}") from error
    return frozenset(value)


def _validate_file(alone: Options) -> None:
    """Check what the file says by itself, but for what is checked again with the flags and said in other words."""
    validate(
        replace(
            alone,
            log_level="info",
            labels=[*{label.partition("=")[0]: label for label in alone.labels}.values()],
        )
    )


def _value(flag: Flag, member: Any, options: Options) -> Any:
    """Return a member of the file, whose type is right, as the option's value. Raises FlagError."""
    match flag.kind:
        case "ip":
            try:
                check_address(member)
            except FlagError as error:
                raise FlagError(f"{flag.key}: invalid IP address: {member}") from error
        case "size":
            try:
                return parse_size(member)
            except ValueError as error:
                raise FlagError(str(error)) from error
        case "pool":
            return [
                pool(flag, f"base={(entry or {}).get('base', '')},size={(entry or {}).get('size', '')}")
                for entry in member
            ]
        case "ulimit":
            return {
                name: {"Name": "", "Hard": 0, "Soft": 0} | (entry or {}) for name, entry in member.items()
            }
        case "runtime":
            return {**options.runtimes, **_runtimes(member)}
        case _:
            pass
    return member


def _runtimes(value: dict[str, Any]) -> dict[str, RuntimeProgram]:
    found: dict[str, RuntimeProgram] = {}
    for name, entry in value.items():
        if name == STOCK_RUNTIME:
            raise FlagError(f"configuration validation from file failed: runtime name '{name}' is reserved")
        program = entry or {}
        found[name] = RuntimeProgram(
            str(program.get("path") or name), tuple(program.get("runtimeArgs") or ())
        )
    return found
