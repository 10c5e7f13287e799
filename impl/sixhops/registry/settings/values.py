"""What stands behind a key of the configuration: from YAML's value to ours, or a ConfigError that says what is expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LEVELS: Final = ("error", "warn", "info", "debug")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class ConfigError(ValueError):
    """The configuration can't be used; the message names the key path."""


def string(value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigError("expected a string")
    return value


def boolean(value: object) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise ConfigError("expected true or false")
    return value


def always(expected: bool) -> object:
    """Return a converter for a key that only describes what we do anyhow."""

    def convert(value: object) -> bool:
        if boolean(value) is not expected:
            raise ConfigError(f"only {str(expected).lower()} is supported")
        return expected

    return convert


def count(value: object) -> int:
    """Return a number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError("expected a number of at least 1")
    return value


def path(value: object) -> Path:
    """Return a path."""
    return Path(string(value))


def paths(value: object) -> tuple[Path, ...]:
    """Return a list of paths."""
    if not isinstance(value, list) or not value:
        raise ConfigError("expected a list of paths")
    return tuple(path(item) for item in value)


def duration(value: object) -> float:
    """Return seconds; Go's notation, such as 168h or 1m30s."""
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ConfigError("expected a duration such as 168h or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))


def word(*known: str) -> object:
    """Return a converter for one of these words."""

    def convert(value: object) -> str:
        if value not in known:
            raise ConfigError(
                f"expected {known[0]}" if len(known) == 1 else f"expected one of {', '.join(known)}"
            )
        return str(value)

    return convert


def version(value: object) -> str:
    """Return the version, of which there is one."""
    if str(value) != "0.1":
        raise ConfigError("expected 0.1")
    return "0.1"


def url(value: object) -> str:
    """Return an http or https URL without a slash at its end."""
    try:
        found = urlsplit(string(value))
        usable = found.scheme in {"http", "https"} and bool(found.hostname) and (found.port or 1) > 0
    except ValueError as error:
        raise ConfigError(f"expected a URL: {error}") from error
    if not usable or found.query or found.fragment or found.username:
        raise ConfigError("expected a URL such as https://registry.example")
    return str(value).rstrip("/")


def prefix(value: object) -> str:
    """Return a path that begins with a slash and has none at its end; "" for the root."""
    text = string(value)
    if re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*/?", text) is None or "/." in text:
        raise ConfigError("expected a path such as /registry/")
    return text.rstrip("/")


def headers(value: object) -> tuple[tuple[str, str], ...]:
    """Return names and values of headers."""
    if not isinstance(value, dict):
        raise ConfigError("expected a mapping of names to lists of values")
    found = []
    for name, values in value.items():
        for item in values if isinstance(values, list) else [values]:
            text = f"{name}{item}"
            if not isinstance(name, str) or not isinstance(item, str) or any(ord(char) < 32 for char in text):
                raise ConfigError(f"{name!r}: expected strings without control characters")
            found.append((name, item))
    return tuple(found)


def fields(value: object) -> tuple[tuple[str, str], ...]:
    """Return what every line of the log carries."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError("expected a mapping of names to values")
    if any(isinstance(item, dict | list) for item in value.values()):
        raise ConfigError("expected values that are text or numbers")
    return tuple((name, str(item)) for name, item in value.items())
