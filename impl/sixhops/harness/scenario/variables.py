"""Variables: `${images.hello-world.digest}`, `${row.code}`, `${id}`.

Templates are found when the file is read and replaced when a step is reached, in parsed data, so a value
can't change the structure around it. A string that is one `${...}` alone takes the value's type; elsewhere
the value becomes text. `$${` stands for `${`. Roots: `images`, `target`, `row`, `scenario`, `letters` (`${letters[N]}`
is N times the letter a, for texts that nobody wants to read); any other first name comes from `vars` or `save`.
"""

from __future__ import annotations

import difflib
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.model import Matcher, Template
from sixhops.harness.scenario.paths import PathMissingError, Segments, look_up, parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sixhops.harness.exchange import Facet
    from sixhops.harness.scenario.model import Scenario, Value

__all__ = ["ROOTS", "Scope", "UndefinedVariable", "make_scope", "nearest", "parse_template", "resolve"]

ROOTS = ("images", "target", "row", "scenario", "letters")

#: The longest text that `${letters[N]}` gives: well above every limit of an engine, well below the machine's memory.
_MOST_LETTERS = 1 << 26

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")


class UndefinedVariable(ScenarioError):  # noqa: N818 - the name says already that something is wrong
    """A variable that nothing defines (or nothing has saved yet) is used."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables that a step can see: roots, `vars` and what was saved so far. Never changed in place."""

    values: Mapping[str, Facet]

    def with_saved(self, saved: Mapping[str, Facet]) -> Scope:
        """Return a scope in which `saved` is visible as well."""
        return Scope({**self.values, **saved}) if saved else self


def make_scope(
    scenario: Scenario,
    images: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    unique: str | None = None,
) -> Scope:
    """Return the scope that a scenario starts with.

    `images`: recipe name to `BuiltImage.variables()`; `target`: `TargetFacts.variables`; `unique`: what
    `${scenario.unique}` is (default: eight random hex digits, so that names never collide).
    Raises UndefinedVariable when a row or a `vars` entry uses something that is not there.
    """
    scope = Scope(
        {
            "images": dict(images or {}),
            "target": dict(target or {}),
            "scenario": {"id": scenario.id, "unique": unique or secrets.token_hex(4)},
        }
    )
    scope = scope.with_saved({"row": resolve(scenario.row, scope)})
    for name, value in scenario.vars.items():
        scope = scope.with_saved({name: resolve(value, scope)})
    return scope


@lru_cache(maxsize=8192)
def parse_template(text: str) -> tuple[str | Segments, ...]:
    """Return the parts of `text`: strings as they are, variables as path segments. Raises ValueError."""
    parts: list[str | Segments] = []
    literal = ""
    position = 0
    for found in _REFERENCE.finditer(text):
        literal += text[position : found.start()]
        position = found.end()
        if found[0] == "$${":
            literal += "${"
            continue
        if not found[2]:
            raise ValueError("`${` has no closing `}`; write $${ for the two characters themselves")
        segments = parse_path(found[1].strip())
        if not isinstance(segments[0], str):
            raise ValueError(f"a variable starts with a name, not with [{segments[0]}]")
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(segments)
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    return tuple(parts)


def resolve(value: Value, scope: Scope) -> Any:
    """Return `value` with every template replaced by what it names in `scope`; matchers stay, their arguments
    are resolved.

    Raises UndefinedVariable for a name that is not there, ScenarioError for a list or mapping inside a
    longer text.
    """
    if isinstance(value, str | int | float) or value is None:
        return value
    if isinstance(value, Template):
        return _substitute(value, scope)
    if isinstance(value, dict):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return Matcher(value.name, resolve(value.argument, scope), value.mark)


def nearest(name: str, names: Mapping[str, Any] | list[str]) -> str:
    """Return `; did you mean X?` for the closest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _substitute(template: Template, scope: Scope) -> Facet:
    parts = parse_template(template.text)
    if len(parts) == 1 and not isinstance(parts[0], str):
        return _variable(parts[0], scope, template.mark)
    return "".join(part if isinstance(part, str) else _text(part, scope, template.mark) for part in parts)


def _variable(segments: Segments, scope: Scope, mark: Mark) -> Facet:
    name = str(segments[0])
    if name == "letters":
        return _letters(segments[1:], mark)
    if name not in scope.values:
        known = [key for key in scope.values if key not in ROOTS]
        raise UndefinedVariable(f"the variable {name} has no value{nearest(name, known)}", mark)
    try:
        return look_up(scope.values[name], segments[1:], base=name)
    except PathMissingError as error:
        raise UndefinedVariable(f"undefined variable: {error}", mark) from None


def _letters(rest: Segments, mark: Mark) -> str:
    count = rest[0] if len(rest) == 1 else None
    if not isinstance(count, int) or not 0 <= count <= _MOST_LETTERS:
        raise ScenarioError(f"letters takes a count from 0 to {_MOST_LETTERS}, as in letters[4096]", mark)
    return "a" * count


def _text(segments: Segments, scope: Scope, mark: Mark) -> str:
    value = _variable(segments, scope, mark)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    kind = (
        "null"
        if value is None
        else type(value).__name__.replace("dict", "a mapping").replace("list", "a list")
    )
    name = ".".join(str(segment) for segment in segments)
    raise ScenarioError(f"${{{name}}} is {kind} and can't stand inside a text", mark)
