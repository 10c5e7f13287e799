"""Words of change instructions, with quotes and variables, as the builder of dockerd 20.10 expands them.

Rule 1: nothing here knows an instruction or a configuration; text goes in with an environment, and words come out.
Facts: buildkit's documentation of Dockerfile environment replacement, and messages of dockerd 20.10.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WordError", "expand", "expand_words"]

_SPECIAL = "@*#?-$!0"


class WordError(Exception):
    """A word that has no meaning; the message is the builder's."""


def expand(word: str, environment: Mapping[str, str], escape: str = "\\") -> str:
    """Return a word with its quotes taken off and its variables replaced. Raises WordError."""
    return _Scanner(word, environment, escape).whole()[0]


def expand_words(word: str, environment: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Return the words that a word becomes when what its variables hold is split at spaces. Raises WordError."""
    return _Scanner(word, environment, escape).whole()[1]


class _Scanner:
    """Reads one word from left to right; "" is its end."""

    def __init__(self, text: str, environment: Mapping[str, str], escape: str) -> None:
        self._text = text
        self._at = 0
        self._environment = environment
        self._escape = escape

    def whole(self) -> tuple[str, list[str]]:
        try:
            return self._until("")
        except WordError as error:
            raise WordError(
                f"failed to process {json.dumps(self._text, ensure_ascii=False)}: {error}"
            ) from error

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += len(character)
        return character

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result, words = "", _Words()
        while character := self._peek():
            if character == stop:
                self._next()
                return result, words.done()
            if character == "$":
                piece = self._dollar()
                words.split(piece)
            elif character in "'\"":
                piece = self._single() if character == "'" else self._double()
                words.keep(piece)
            elif self._next() == self._escape:
                piece = self._next()
                if not piece:
                    break
                words.keep(piece)
            else:
                piece = character
                words.split(piece)
            result += piece
        if stop:
            raise WordError(f"unexpected end of statement while looking for matching {stop}")
        return result, words.done()

    def _single(self) -> str:
        self._next()
        end = self._text.find("'", self._at)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        piece, self._at = self._text[self._at : end], end + 1
        return piece

    def _double(self) -> str:
        self._next()
        result = ""
        while character := self._peek():
            if character == "$":
                result += self._dollar()
                continue
            self._next()
            if character == '"':
                return result
            if character == self._escape:
                if not self._peek():
                    continue
                if self._peek() in {'"', "$", self._escape}:
                    character = self._next()
            result += character
        raise WordError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            return self._environment.get(name, "") if name else "$"
        self._next()
        if not self._peek():
            raise WordError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        name = self._name()
        mark = self._next()
        if mark == "}":
            return self._environment.get(name, "")
        if mark == "?":
            return self._demanded(name, self._rest(), may_be_empty=True)
        if mark != ":":
            raise WordError("missing ':' in substitution")
        modifier, rest = self._next(), self._rest()
        value = self._environment.get(name, "")
        if modifier == "+":
            return rest if value else ""
        if modifier == "-":
            return value or rest
        if modifier == "?":
            return self._demanded(name, rest, may_be_empty=False)
        raise WordError(f"unsupported modifier ({modifier}) in substitution")

    def _rest(self) -> str:
        try:
            return self._until("}")[0]
        except WordError as error:
            if not self._peek():
                raise WordError("syntax error: missing '}'") from error
            raise

    def _demanded(self, name: str, message: str, *, may_be_empty: bool) -> str:
        value = self._environment.get(name)
        if value is None:
            raise WordError(f"{name}: {message or 'is not allowed to be unset'}")
        if not value and not may_be_empty:
            raise WordError(f"{name}: {message or 'is not allowed to be empty'}")
        return value

    def _name(self) -> str:
        """Read a name; a number, or one of the shell's special signs, is a name of its own."""
        start = self._at
        if self._peek().isdecimal():
            while self._peek().isdecimal():
                self._next()
        elif self._peek() and self._peek() in _SPECIAL:
            self._next()
        else:
            while (character := self._peek()) and (character.isalnum() or character == "_"):
                self._next()
        return self._text[start : self._at]


class _Words:
    """Collects words: `split` ends one at a space, `keep` does not."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word = ""

    def keep(self, text: str) -> None:
        self._word += text

    def split(self, text: str) -> None:
        for character in text:
            if not character.isspace():
                self._word += character
            elif self._word:
                self._words.append(self._word)
                self._word = ""

    def done(self) -> list[str]:
        if self._word:
            self._words.append(self._word)
            self._word = ""
        return self._words
