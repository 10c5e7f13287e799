"""Paths into values: `State.Status`, `layers[0].digest`, `Ports["80/tcp"][-1].HostPort`.

Variables (`${...}`) and `save` (`$.Id`, `$stdout`) share this syntax: names after dots, `[n]` counts from 0
and from the end when negative, `["..."]` is a key of any characters. Pure; a path that leads nowhere says how
far it led.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from sixhops.harness.exchange import Facet

__all__ = ["PathMissingError", "Segments", "format_path", "look_up", "parse_path", "parse_source"]

Segments: TypeAlias = tuple[str | int, ...]

_TOKEN = re.compile(r'\.?(?P<name>[A-Za-z0-9_@/+-]+)|\[(?P<index>-?\d+)\]|\[(?P<key>"(?:[^"\\]|\\.)*")\]')
_PLAIN = re.compile(r"[A-Za-z0-9_@/+-]+")
_SOURCE = re.compile(r"\$(?P<facet>[a-z][a-z_]*)?(?P<rest>[.\[].*)?", re.DOTALL)


class PathMissingError(LookupError):
    """A path leads nowhere in a value; the message says where it ended and what is there."""


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Segments:
    """Return the segments of `text`: str for a key, int for an index. Raises ValueError that names the bad
    part.
    """
    if not text:
        raise ValueError("the path is empty")
    segments: list[str | int] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        separated = found is not None and (text[position] in ".[" or position == 0)
        if found is None or not separated:
            raise ValueError(f'{text[position:]!r} is not a path: write a.b, a[0], a[-1] or a["any key"]')
        if found["name"] is not None:
            segments.append(found["name"])
        elif found["index"] is not None:
            segments.append(int(found["index"]))
        else:
            segments.append(str(json.loads(found["key"])))
        position = found.end()
    return tuple(segments)


@lru_cache(maxsize=1024)
def parse_source(text: str) -> tuple[str, Segments]:
    """Return facet and segments of a `save` source; `$.Id` is facet `json`. Raises ValueError."""
    found = _SOURCE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no source: write $.Id, $stdout, $headers.location or $stream[0].id")
    rest = (found["rest"] or "").removeprefix(".")
    if not rest and not found["facet"] and text != "$":
        raise ValueError(f"{text!r} is no source: a name must follow the dot")
    return found["facet"] or "json", parse_path(rest) if rest else ()


def format_path(base: str, segments: Segments) -> str:
    """Return `base` followed by `segments` in path syntax."""
    for segment in segments:
        if isinstance(segment, int):
            base += f"[{segment}]"
        elif _PLAIN.fullmatch(segment):
            base += f".{segment}" if base else segment
        else:
            base += f"[{json.dumps(segment)}]"
    return base


def look_up(value: Facet, segments: Segments, base: str = "") -> Facet:
    """Return what `segments` lead to in `value`; `base` is what the value is called in messages. Raises
    PathMissingError.
    """
    here = value
    for depth, segment in enumerate(segments):
        place = format_path(base, segments[:depth]) or "the value"
        if isinstance(here, dict) and isinstance(segment, str):
            if segment not in here:
                keys = ", ".join(sorted(here)[:20]) or "nothing"
                raise PathMissingError(f"{place} has no {segment}; it has {keys}")
            here = here[segment]
        elif isinstance(here, list) and isinstance(segment, int):
            if not -len(here) <= segment < len(here):
                raise PathMissingError(f"{place} has no element [{segment}]; it has {len(here)}")
            here = here[segment]
        else:
            wanted = f"the key {segment}" if isinstance(segment, str) else f"the element [{segment}]"
            raise PathMissingError(f"{place} is {_describe(here)}, so there is no {wanted} in it")
    return here


def _describe(value: Facet) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
