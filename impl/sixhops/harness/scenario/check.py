"""What only the whole scenario shows: variables before they are saved, background steps that nobody waits
for.

Works on what the reader found, so that these errors are reported beside those of form. Variables are checked
as far as is known when a file is read: the first name always, the recipe after `images`, the path inside rows
that are plain data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.scenario.grammar import FACETS, HOPS, background_what
from sixhops.harness.scenario.model import Matcher, Template
from sixhops.harness.scenario.paths import PathMissingError, Segments, look_up
from sixhops.harness.scenario.variables import ROOTS, nearest, parse_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sixhops.harness.scenario.reader import StepFields

__all__ = ["check_backgrounds", "check_row", "check_variables", "templates_in"]

_ENDS: Final = ("join", "disconnect")
_ON_BACKGROUND: Final = ("join", "await", "close_stdin", "disconnect", "send")
_SCENARIO_PARTS: Final = ("id", "unique")


def templates_in(value: Any) -> Iterator[Template]:
    """Yield every template in a value."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, Matcher):
        yield from templates_in(value.argument)
    elif isinstance(value, dict):
        for item in value.values():
            yield from templates_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from templates_in(item)


def check_variables(
    steps: list[StepFields],
    given: dict[str, Any],
    early: list[Template],
    images: set[str],
    rows: list[dict[str, Any]],
) -> list[ScenarioError]:
    """Return an error for each variable that nothing can have defined when its step is reached.

    `given`: `vars`; `early`: templates outside of steps, vars and rows; `images`: recipes in use; `rows`: the
    `for` table.
    """
    errors: list[ScenarioError] = []
    known: dict[str, Any] = {}
    for row in rows:
        for template in templates_in(dict(row)):
            _check(template, {}, {}, images, None, errors)
    for name, value in given.items():
        for template in templates_in(value):
            _check(template, known, {}, images, rows, errors)
        known[name] = value
    for template in early:
        _check(template, known, {}, images, rows, errors)
    later: dict[str, int] = {}
    for fields in reversed(steps):
        for name in _saved(fields):
            later[name] = fields.mark.line
    for fields in steps:
        for template in fields.templates:
            _check(template, known, later, images, rows, errors)
        for name, mark in _saved(fields).items():
            if name in ROOTS or name in given:
                kind = "one of the roots" if name in ROOTS else "in vars"
                errors.append(ScenarioError(f"{name} can't be saved: the name is {kind} already", mark))
            known[name] = None
    return errors


def check_row(template: Template, row: dict[str, Any]) -> ScenarioError | None:
    """Return an error when a template names something that this row lacks."""
    for part in parse_template(template.text):
        if not isinstance(part, str) and part[0] == "row":
            plain = not any(True for _ in templates_in(row))
            try:
                look_up(row, part[1:] if plain else part[1:2], base="row")
            except PathMissingError as error:
                hint = nearest(str(part[1]), list(row)) if len(part) > 1 else ""
                return ScenarioError(f"undefined variable: {error}{hint}", template.mark)
    return None


def check_backgrounds(steps: list[StepFields]) -> list[ScenarioError]:
    """Return an error for each background name that is unknown, taken, or never joined nor disconnected."""
    errors: list[ScenarioError] = []
    kinds: dict[str, str] = {}
    marks: dict[str, Mark] = {}
    ended: dict[str, str] = {}
    for fields in steps:
        if "background" in fields.marks and "eventually" in fields.marks:
            errors.append(
                ScenarioError(
                    "a background step runs once; put eventually on the step that looks",
                    fields.marks["eventually"],
                )
            )
        for key in ("background", "console"):
            name = fields.get(key)
            if name is None:
                continue
            if name in kinds:
                errors.append(
                    ScenarioError(
                        f"the background name {name} is taken by line {marks[name].line}", fields.marks[key]
                    )
                )
            kinds[name] = key if key == "console" else fields.kind or "request"
            marks[name] = fields.marks[key]
        target = _target(fields)
        if fields.kind in _ON_BACKGROUND and target is not None:
            mark = fields.marks[fields.kind]
            if target not in kinds:
                errors.append(
                    ScenarioError(
                        f"no background step before this is called {target}{nearest(target, list(kinds))}",
                        mark,
                    )
                )
                continue
            if ended.get(target) == "join" or (ended.get(target) and fields.kind != "join"):
                errors.append(
                    ScenarioError(
                        f"the background step {target} has ended: it was {ended[target]}ed before", mark
                    )
                )
            if fields.kind in _ENDS:
                ended[target] = fields.kind if fields.kind != "disconnect" else "disconnect"
            errors.extend(_facets(fields, target, kinds[target]))
    errors.extend(
        ScenarioError(f"the background step {name} is never joined nor disconnected", mark)
        for name, mark in marks.items()
        if name not in ended
    )
    return errors


def _facets(fields: StepFields, target: str, kind: str) -> Iterator[ScenarioError]:
    expect = fields.get("expect")
    if expect is None:
        return
    for facet in expect:
        if facet not in FACETS[kind] and facet not in HOPS:
            yield ScenarioError(
                f"{target} is {background_what(kind)}, which has no {facet}", expect.marks[facet]
            )


def _target(fields: StepFields) -> str | None:
    action = fields.get(fields.kind) if fields.kind else None
    if isinstance(action, dict):
        action = action.get("to")
    return action if isinstance(action, str) else None


def _saved(fields: StepFields) -> dict[str, Mark]:
    save = fields.get("save")
    saved = dict(save.marks) if save is not None else {}
    if fields.kind == "bundle" and "bundle" in fields:
        saved[fields["bundle"]] = fields.marks["bundle"]
    return saved


def _check(
    template: Template,
    known: dict[str, Any],
    later: dict[str, int],
    images: set[str],
    rows: list[dict[str, Any]] | None,
    errors: list[ScenarioError],
) -> None:
    for part in parse_template(template.text):
        if not isinstance(part, str):
            problem = _problem(part, known, later, images, rows)
            if problem:
                errors.append(ScenarioError(f"undefined variable: {problem}", template.mark))


def _problem(
    part: Segments,
    known: dict[str, Any],
    later: dict[str, int],
    images: set[str],
    rows: list[dict[str, Any]] | None,
) -> str | None:
    root = str(part[0])
    second = part[1] if len(part) > 1 else None
    if root in _ROOT_CHECKS:
        return _ROOT_CHECKS[root](second, images)
    if root == "row":
        if rows is None:
            return "a row can't speak of itself"
        return None if rows else "there is no `for` table, so there is no row"
    if root in known:
        value = known[root]
        if isinstance(value, dict | list) and not any(True for _ in templates_in(value)):
            try:
                look_up(value, part[1:], base=root)
            except PathMissingError as error:
                return str(error)
        return None
    if root in later:
        return f"{root} is saved later, by the step at line {later[root]}"
    return f"{root}{nearest(root, [*known, *ROOTS])}"


def _check_image(second: str | int | None, images: set[str]) -> str | None:
    if second is None or second in images:
        return None
    hint = nearest(str(second), list(images)) or "; name it in `images`"
    return f"the scenario uses no image {second}{hint}"


def _check_scenario(second: str | int | None, _images: set[str]) -> str | None:
    return (
        None if second in _SCENARIO_PARTS else f"scenario has {' and '.join(_SCENARIO_PARTS)}, not {second}"
    )


_ROOT_CHECKS: Final[dict[str, Callable[[str | int | None, set[str]], str | None]]] = {
    "images": _check_image,
    "scenario": _check_scenario,
    "target": lambda _second, _images: None,
    "letters": lambda second, _images: (
        None if isinstance(second, int) else "letters takes a count, as in letters[4096]"
    ),
}
