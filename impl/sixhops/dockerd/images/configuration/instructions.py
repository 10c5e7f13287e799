"""Change instructions as text: lines such as `ENV A=1`, read into names, flags and arguments.

Rule 1: nothing here knows what an instruction does; `changes` does.
Facts: the Dockerfile reference for the format, and messages of dockerd 20.10 for what is malformed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Instruction", "InstructionError", "parse"]

_ESCAPE = re.compile(r"#\s*escape\s*=\s*(.)\s*", re.IGNORECASE)
_FLAG = re.compile(r"--[^\s]*")


class InstructionError(Exception):
    """A line that is no instruction; the message is the builder's."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line. `name` is lower case; `arguments` are the words, of which those of ENV and LABEL are names and values.

    `is_json`: the arguments were written as a JSON list. `escape` is the sign that the text uses as such.
    """

    name: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    is_json: bool
    original: str
    escape: str = "\\"


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a text. Raises InstructionError."""
    found: list[Instruction] = []
    escape = "\\"
    pending = ""
    is_head = True
    for line in text.split("\n"):
        directive = _ESCAPE.fullmatch(line.strip()) if is_head else None
        if directive is not None:
            escape = directive[1]
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        is_head = False
        body = line if pending else line.lstrip()
        cut = body.rstrip(" \t")
        if cut.endswith(escape):
            pending += cut[: -len(escape)]
            continue
        found.append(_instruction(pending + body, escape))
        pending = ""
    if pending.strip():
        found.append(_instruction(pending, escape))
    if not found:
        raise InstructionError("file with no instructions")
    return found


def _instruction(line: str, escape: str) -> Instruction:
    name, *more = line.strip().split(None, 1)
    flags, rest = _flags(more[0].strip() if more else "")
    arguments, is_json = _arguments(name.lower(), rest, escape)
    return Instruction(name.lower(), flags, tuple(arguments), is_json, line, escape)


def _flags(rest: str) -> tuple[tuple[str, ...], str]:
    flags: list[str] = []
    while (found := _FLAG.match(rest)) is not None:
        if found[0] == "--":
            return tuple(flags), rest[2:].lstrip()
        flags.append(found[0])
        rest = rest[found.end() :].lstrip()
    return tuple(flags), rest


def _arguments(name: str, rest: str, escape: str) -> tuple[list[str], bool]:
    if not rest:
        return [], False
    if name in {"env", "label"}:
        return _pairs(name.upper(), rest, escape), False
    if name in {"cmd", "entrypoint"}:
        values = _json(rest)
        return ([rest], False) if values is None else (values, True)
    if name == "volume":
        values = _json(rest)
        return (rest.split(), False) if values is None else (values, True)
    if name == "healthcheck":
        kind, *more = rest.split(None, 1)
        if not more:
            return [kind], False
        values = _json(more[0])
        return ([kind, more[0]], False) if values is None else ([kind, *values], True)
    return (rest.split(), False) if name == "expose" else ([rest], False)


def _json(text: str) -> list[str] | None:
    """Return a JSON list of texts, None when it is no JSON list. Raises InstructionError for another list."""
    if not text.startswith("["):
        return None
    try:
        value, _end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    values: list[Any] = value
    if not all(isinstance(item, str) for item in values):
        raise InstructionError("when using JSON array syntax, arrays must be comprised of strings only")
    return values


def _pairs(name: str, rest: str, escape: str) -> list[str]:
    words = _split(rest, escape)
    if "=" not in words[0]:
        # the old form: one name, and all the rest is its value
        parts = rest.split(None, 1)
        if len(parts) < 2:
            raise InstructionError(f"{name} must have two arguments")
        return parts
    pairs: list[str] = []
    for word in words:
        if "=" not in word:
            raise InstructionError(
                f"Syntax error - can't find = in {json.dumps(word, ensure_ascii=False)}. Must be of the form: name=value"
            )
        key, _, value = word.partition("=")
        pairs += [key, value]
    return pairs


def _split(text: str, escape: str) -> list[str]:
    """Split at spaces outside of quotes; quotes and escapes stay where they are."""
    words: list[str] = []
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if character == escape and quote != "'":
            word += text[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if word:
                words.append(word)
            word = ""
            position += 1
            continue
        word += character
        position += 1
    return [*words, word] if word else words
