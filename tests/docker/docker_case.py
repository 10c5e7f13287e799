"""A command line to compare, and what is set up for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "Keys", "words"]


@dataclass(frozen=True, slots=True)
class Keys:
    """What is done on a terminal: for each pair, once the pattern (a regular expression) has been seen, the text is typed.

    A text `<resize R C>` changes the terminal's size instead, `<signal NAME>` sends the client a signal.
    """

    typed: tuple[tuple[str, str], ...] = ()
    rows: int = 40
    columns: int = 120


@dataclass(frozen=True, slots=True)
class Case:
    """One command line. `before` is set up anew for each client, by docker itself (`!` in front: by a shell).

    `config` is config.json. `terminal` runs the client on a terminal. `unordered`: lines come in any order. `requests`
    and `files` false: what was asked, and what lies in the working directory afterwards, is not compared, because it
    depends on the moment. `explained` says why the two differ on purpose; such a case fails when they no longer do.
    An environment variable None is unset.
    """

    line: str
    before: tuple[str, ...] = ()
    stdin: bytes = b""
    unordered: bool = False
    requests: bool = True
    files: bool = True
    environment: dict[str, str | None] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    terminal: Keys | None = None
    explained: str = ""


def words(line: str) -> list[str]:
    """Split a command line; a `␠` stands for a space inside a word, `\\\\t` for a tab, `␀` for an empty word."""
    return [word.replace("␠", " ").replace("\\t", "\t").replace("␀", "") for word in line.split()]
