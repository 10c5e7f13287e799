"""The template of the log option `tag`: text with `{{.Name}}` and the like, pipes, and Docker's few functions.

Facts: daemon/logger/loginfo.go (what there is to ask for) and templates.go (functions) of moby 20.10, and Go's text/template
for the words of errors. Control structures (if, range, with) are refused.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.errors import system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["render"]

_ACTION = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_CONTROL = frozenset({"if", "range", "with", "define", "template", "block", "end", "else"})


def render(template: str, facts: Mapping[str, Any]) -> str:
    """Return the text of a template; `facts` by the names after the dot. Raises EngineError 500 in Go's words."""
    rest = _ACTION.sub("", template)
    if "{{" in rest:
        raise system("template: log-tag:1: unclosed action")
    return _ACTION.sub(lambda found: _text(_pipeline(found[1], facts, found.start())), template)


def _pipeline(text: str, facts: Mapping[str, Any], at: int) -> Any:
    if not text.strip():
        raise system("template: log-tag:1: missing value for command")
    value: Any = None
    for index, command in enumerate(text.split("|")):
        words = _words(command)
        if not words:
            raise system("template: log-tag:1: missing value for command")
        arguments = [_value(word, facts, at) for word in words[1:]] + ([value] if index else [])
        head = words[0]
        if head.startswith((".", '"')) or head.isdigit():
            value = _value(head, facts, at)
        elif head in _FUNCTIONS:
            try:
                value = _FUNCTIONS[head](*arguments)
            except (TypeError, ValueError) as error:
                raise system(
                    f'template: log-tag:1:{at + 2}: executing "log-tag" at <{head}>: wrong arguments for {head}'
                ) from error
        elif head in _CONTROL:
            raise system(f"template: log-tag:1: {head} is not supported in tags by this engine")
        else:
            raise system(f'template: log-tag:1: function "{head}" not defined')
    return value


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=False)
    lexer.whitespace_split = True
    lexer.quotes = '"'
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        raise system("template: log-tag:1: unterminated quoted string") from None


def _value(word: str, facts: Mapping[str, Any], at: int) -> Any:
    if word.startswith('"'):
        return json.loads(word)
    if word.lstrip("-").isdigit():
        return int(word)
    if not word.startswith("."):
        raise system(f'template: log-tag:1: function "{word}" not defined')
    value: Any = facts
    for name in word[1:].split(".") if word != "." else ():
        if not isinstance(value, dict) or (value is facts and name not in value):
            raise system(
                f'template: log-tag:1:{at + 2}: executing "log-tag" at <{word}>: '
                f"can't evaluate field {name} in type *logger.Info"
            )
        value = value.get(name, "<no value>")
    return value


def _text(value: Any) -> str:
    """Return a value as Go prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_text(member)}' for name, member in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(_text, value))}]"
    return str(value)


def _pad(text: str, before: int, behind: int) -> str:
    return f"{' ' * before}{text}{' ' * behind}" if text else text


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True),
    "split": lambda text, separator: text.split(separator),
    "join": lambda words, separator: separator.join(words),
    "title": lambda text: re.sub(r"(?<!\S)\S", lambda found: found[0].upper(), text),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
}
