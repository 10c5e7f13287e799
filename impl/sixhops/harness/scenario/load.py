"""Files to scenarios. `load_file` reads one, `load_tree` a folder; both report every error of every file,
with its place.

Folders below the root that hold other things (image recipes, engine profiles, requirements) are left to their
own loaders.
"""

from __future__ import annotations

import gc
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yaml.nodes import SequenceNode

from sixhops.harness.errors import Mark, ScenarioError, ScenarioErrors
from sixhops.harness.scenario.build import DEFAULT_API, Builder
from sixhops.harness.scenario.check import check_backgrounds, check_row, check_variables, templates_in
from sixhops.harness.scenario.grammar import SCENARIO
from sixhops.harness.scenario.model import Scenario, Template
from sixhops.harness.scenario.nodes import compose, mark_of, read_text, text_of
from sixhops.harness.scenario.reader import Fields, Reader, StepFields
from sixhops.harness.scenario.variables import ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import yaml

__all__ = [
    "OTHER_FOLDERS",
    "LoadReport",
    "collection_paused",
    "load_file",
    "load_text",
    "load_tree",
    "recipes_of",
]

OTHER_FOLDERS: Final = frozenset({"images", "engines", "requirements", "baselines", "diff", "counts.yaml"})
_ROW_NAME: Final = re.compile(r"[^\s\[\]/][^\[\]\n/]{0,79}")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a folder holds: scenarios in the order of their paths, and all errors of the files that could not
    be loaded.
    """

    scenarios: tuple[Scenario, ...]
    errors: tuple[ScenarioError, ...]


def load_tree(root: Path, select: Callable[[Path], bool] | None = None) -> LoadReport:
    """Return every scenario below `root`.

    `select` gets each file's path relative to `root`; a file for which it returns false is not read. A
    missing folder is an error in the report, as are files that end in .yml (they would never run).
    """
    if not root.is_dir():
        return LoadReport((), (ScenarioError(f"{root} is no folder"),))
    scenarios: list[Scenario] = []
    errors: list[ScenarioError] = []
    recipes = recipes_of(root)
    with collection_paused():
        _load_all(root, recipes, select, scenarios, errors)
    return LoadReport(tuple(scenarios), tuple(errors))


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the garbage collector from running: on many files it takes as long as the loading, and finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load_all(
    root: Path,
    recipes: tuple[str, ...],
    select: Callable[[Path], bool] | None,
    scenarios: list[Scenario],
    errors: list[ScenarioError],
) -> None:
    for path in sorted(root.rglob("*.y*ml")):
        relative = path.relative_to(root)
        if relative.parts[0] in OTHER_FOLDERS or any(part.startswith(".") for part in relative.parts):
            continue
        if select is not None and not select(relative):
            continue
        if path.suffix != ".yaml":
            errors.append(ScenarioError("a scenario's file name ends in .yaml", Mark(str(path), 1, 1)))
            continue
        try:
            scenarios.extend(_load(path, root, read_text(path, str(path)), recipes))
        except ScenarioErrors as several:
            errors.extend(several.errors)
        except ScenarioError as error:
            errors.append(error)


def load_file(
    path: Path,
    root: Path,
    *,
    recipes: tuple[str, ...] | None = None,
    data: bytes | None = None,
    beside: list[str] | None = None,
) -> list[Scenario]:
    """Return the scenarios of one file: one, or one for each row of its `for` table.

    `root` is the scenarios folder: ids are relative to it, and it holds the image recipes. A file outside of
    it has its name as its id, no hop, and its own folder as the place that paths must not leave. Raises
    ScenarioErrors (a ScenarioError whose `errors` are all of them, in the order of their places).

    Who has read it already hands over what was found: `recipes` as `recipes_of` returns them, `data` as it is in the
    file. `beside` is given the names of other files that it speaks of, and that were looked for.
    """
    try:
        text = read_text(path, str(path)) if data is None else text_of(data, str(path))
        return _load(path, root, text, recipes_of(root) if recipes is None else recipes, beside)
    except ScenarioErrors:
        raise
    except ScenarioError as error:
        raise ScenarioErrors([error]) from None


def load_text(
    text: str, name: str = "scenario.yaml", recipes: tuple[str, ...] | None = None
) -> list[Scenario]:
    """Return the scenarios in `text`, as if it stood in the file `name`; `recipes` None accepts any image
    name.

    For tests and editors; `file:` bodies are looked for beside the working directory's `name`. Raises as
    `load_file` does.
    """
    try:
        return _load(Path(name), Path(), text, recipes)
    except ScenarioErrors:
        raise
    except ScenarioError as error:
        raise ScenarioErrors([error]) from None


def recipes_of(root: Path) -> tuple[str, ...]:
    """Return the names of the image recipes in a scenarios folder, in order."""
    return tuple(sorted(path.stem for path in (root / "images").glob("*.yaml")))


def _load(
    path: Path,
    root: Path,
    text: str,
    recipes: tuple[str, ...] | None,
    beside: list[str] | None = None,
) -> list[Scenario]:
    name = str(path)
    node = compose(text, name)
    reader = Reader(name)
    fields = reader.read(SCENARIO, node, "a scenario")
    errors = reader.errors
    if not isinstance(fields, Fields):
        raise ScenarioErrors(errors)
    inside = root == Path() or path.is_relative_to(root)
    builder = Builder(
        path, root if inside else path.parent, errors, fields.get("api", DEFAULT_API), recipes=recipes
    )
    steps = [*fields.get("steps", []), *fields.get("cleanup", [])]
    images = builder.image_uses(
        fields.get("images", []), _marks_of(node, "images", name, len(fields.get("images", [])))
    )
    given = dict(fields.get("vars", {}))
    for variable in given:
        if variable in ROOTS:
            builder.error(
                f"{variable} can't be a variable: the name is one of the roots",
                fields["vars"].marks[variable],
            )
    rows = [dict(row) for row in fields.get("for", [])]
    faults = fields.get("registry_faults", [])
    early = list(templates_in(faults))
    # A part of `images` that is wrong would make each use of it an error as well.
    of_bundles = {step["image"] for step in steps if step.kind == "bundle" and "image" in step}
    known_images = of_bundles | set(images) if len(images) == _length(node, "images") else _AnyName()
    errors.extend(check_variables(steps, given, early, known_images, rows))
    errors.extend(check_backgrounds(steps))
    row_names = _row_names(rows, _marks_of(node, "for", name, len(rows)), errors)
    if rows:
        errors.extend(_check_rows(rows, row_names, [*early, *templates_in(given)], steps))
    cleanup_from = len(fields.get("steps", []))
    requires = builder.requires(fields.get("requires"))
    # Only a step or fault that says something of its row where a plain value must stand is built once for
    # each row.
    first = _perform_parts(builder, steps, cleanup_from, faults, rows[0] if rows else {})
    parts = [first, *([first] * (len(rows) - 1))]
    if len(rows) > 1 and _row_shapes(steps, faults):
        parts = [first, *(_perform_parts(builder, steps, cleanup_from, faults, row) for row in rows[1:])]
    if errors:
        raise ScenarioErrors(errors)
    if beside is not None:
        beside.extend(builder.beside)
    relative = Path(path.name) if not inside else path.relative_to(root) if root != Path() else path
    identifier = relative.with_suffix("").as_posix()
    common: dict[str, Any] = {
        "path": name,
        "title": fields["title"],
        "description": fields.get("description", ""),
        "hop": relative.parts[0] if len(relative.parts) > 1 else "",
        "refs": tuple(fields.get("refs", [])),
        "tags": frozenset(fields.get("tags", [])),
        "images": images,
        "requires": requires,
        "vars": given,
        "mark": fields.mark,
    }
    if not rows:
        return [Scenario(id=identifier, row={}, **common, **parts[0])]
    return [
        Scenario(id=f"{identifier}[{row_name}]", row=row, **common, **part)
        for row, row_name, part in zip(rows, row_names, parts, strict=True)
    ]


def _perform_parts(
    builder: Builder, steps: list[StepFields], cleanup_from: int, faults: list[Fields], row: dict[str, Any]
) -> dict[str, Any]:
    """Return the parts of a scenario that are performed, built for one row."""
    builder.row = row
    models = [builder.step(step, index, cleanup=index >= cleanup_from) for index, step in enumerate(steps)]
    rules = [builder.fault(fault) for fault in faults]
    return {
        "steps": tuple(step for step in models[:cleanup_from] if step is not None),
        "cleanup": tuple(step for step in models[cleanup_from:] if step is not None),
        "registry_faults": tuple(rule for rule in rules if rule is not None),
    }


def _row_shapes(steps: list[StepFields], faults: list[Fields]) -> bool:
    lines = [step.get(step.kind) for step in steps if step.kind in ("request", "registry")]
    lines += [fault.get("status") for fault in faults]
    return any(isinstance(line, Template) and line.text.startswith("${row.") for line in lines)


class _AnyName(set[str]):
    """A set that has every name, for when the true one is not known."""

    def __contains__(self, _name: object) -> bool:
        return True


def _marks_of(node: yaml.Node, key: str, name: str, count: int) -> list[Mark]:
    """Return where the elements of a top-level list begin; the list's own place when some of them were
    dropped.
    """
    for key_node, item in node.value:
        if key_node.value == key and isinstance(item, SequenceNode):
            marks = [mark_of(element, name) for element in item.value]
            return marks if len(marks) == count else [mark_of(item, name)] * count
    return [Mark(name, 1, 1)] * count


def _length(node: yaml.Node, key: str) -> int:
    return sum(len(item.value) for key_node, item in node.value if key_node.value == key)


def _row_names(rows: list[dict[str, Any]], marks: list[Mark], errors: list[ScenarioError]) -> list[str]:
    names: list[str] = []
    for row, mark in zip(rows, marks, strict=True):
        chosen = row.get("id")
        if chosen is not None and (not isinstance(chosen, str | int) or isinstance(chosen, bool)):
            errors.append(ScenarioError("a row's id is text or a whole number", mark))
            chosen = "?"
        if chosen is None:
            parts = [_plain(value) for value in row.values() if not isinstance(value, dict | list)]
            derived = re.sub(r"[\[\]/\s]+", "_", "-".join(parts))[:60].strip("_")
            name = derived or str(len(names) + 1)
        else:
            name = str(chosen)
            if not _ROW_NAME.fullmatch(name):
                errors.append(
                    ScenarioError(
                        f"a row's id has no brackets, slashes or line ends and is at most 80 long: {name!r}",
                        mark,
                    )
                )
        if name in names:
            problem = (
                "is there twice" if chosen is not None else "would be the name of two rows; give them an `id`"
            )
            errors.append(ScenarioError(f"the row {name} {problem}", mark))
        names.append(name)
    return names


def _plain(value: Any) -> str:
    if isinstance(value, Template):
        return value.text
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _check_rows(
    rows: list[dict[str, Any]], names: list[str], templates: list[Template], steps: list[StepFields]
) -> list[ScenarioError]:
    every = [*templates, *(template for step in steps for template in step.templates)]
    of_row = [template for template in every if "row" in template.text]
    errors: dict[tuple[str, str], ScenarioError] = {}
    for row, name in zip(rows, names, strict=True):
        for template in of_row:
            wrong = check_row(template, row)
            if wrong is not None:
                found = ScenarioError(f"{wrong.message} (row {name})", wrong.mark)
                errors.setdefault((str(wrong.mark), wrong.message), found)
    return list(errors.values())
