"""What a value in a scenario may be, as data: the kinds that the grammar is made of.

The reader checks nodes against them; schema and reference are written from them. Nothing here knows a key by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "Choice",
    "Data",
    "Either",
    "Flag",
    "Key",
    "Kind",
    "ListOf",
    "MapOf",
    "Nothing",
    "Record",
    "Text",
    "Whole",
]


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `pattern` must match all of it; `what` says in words what it must be; `templates`: `${...}`
    may stand in it.
    """

    what: str = "text"
    pattern: str | None = None
    templates: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    what: str = "true or false"


@dataclass(frozen=True, slots=True)
class Nothing:
    """null."""

    what: str = "null"


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer of at least `least`; `templates`: or one variable of the `for` table alone."""

    what: str = "a whole number"
    least: int = 0
    templates: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def what(self) -> str:
        """Return the words, for messages."""
        return f"one of {', '.join(self.words)}" if len(self.words) > 1 else self.words[0]


@dataclass(frozen=True, slots=True)
class Data:
    """Any value, with templates; with matchers where an expectation is meant. `mapping`: a mapping at its
    top. `places`: mappings in it know where their keys stand (`reader.Fields`). `templates`: one variable may
    stand for the whole mapping.
    """

    what: str = "any value"
    matchers: bool = False
    mapping: bool = False
    places: bool = False
    templates: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. `least`: the least number of elements; `single`: one element may stand without the list."""

    item: Kind
    what: str = "a list"
    least: int = 0
    single: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with keys of the author's. `key` is a pattern, `key_what` says it in words; `one`: exactly
    one key.
    """

    item: Kind
    what: str = "a mapping"
    key: str = r"(?s).*"
    key_what: str = "text"
    one: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """The first of `kinds` that the shape of the value fits."""

    kinds: tuple[Kind, ...]

    @property
    def what(self) -> str:
        """Return what may stand here, for messages."""
        return " or ".join(kind.what for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a record: what it takes and what it means."""

    kind: Kind
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys. `one_of`: exactly one of these must be there; `at_most_one`: no two of
    these.
    """

    name: str
    doc: str
    keys: dict[str, Key] = field(hash=False)
    one_of: tuple[str, ...] = ()
    at_most_one: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Return the record's name with an article, for messages."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


Kind: TypeAlias = "Text | Flag | Nothing | Whole | Choice | Data | ListOf | MapOf | Either | Record"
