"""Go's text/template, as `--format` uses it: fields, variables, functions, if, range, with, define, template, block.

`parse` makes a `Template` of a text, `Template.render` fills it in. Data is JSON (dict, list, str, int, float, bool, None)
or a `Fields`, whose fields are computed. What isn't supported is a TemplateError, never text that passes through.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sixhops.docker.screen import templateparser
from sixhops.docker.screen.templatefunctions import (
    FUNCTIONS,
    SIGNATURES,
    Fields,
    Nil,
    TemplateError,
    escaped,
    go_text,
    go_type,
    is_true,
    show,
)
from sixhops.docker.screen.templateparser import (
    Branch,
    Call,
    Constant,
    Function,
    Include,
    Jump,
    Path,
    Pipe,
    Text,
    fail,
)

__all__ = ["Fields", "Template", "TemplateError", "escaped", "parse"]

#: How deep templates may include one another before it is taken for an endless recursion.
_DEPTH = 100


class Template:
    """A parsed template."""

    def __init__(self, nodes: list[Any], defined: dict[str, list[Any]]) -> None:
        self._nodes = nodes
        self._defined = defined

    def render(self, data: Any, *, strict: bool = False) -> str:
        """Return the text for `data`. `strict`: a missing key is an error instead of `<no value>`.

        Raises TemplateError, whose `partial` is the text up to there.
        """
        run = _Run(data, self._defined, strict)
        try:
            run.nodes(self._nodes, data)
        except TemplateError as error:
            error.partial = "".join(run.out)
            raise
        return "".join(run.out)


def parse(text: str) -> Template:
    """Parse a template. Raises TemplateError with Go's words."""
    return Template(*templateparser.parse(text))


class _JumpError(Exception):
    """A `break` or `continue` on its way to its range."""


class _Run:
    def __init__(self, data: Any, defined: dict[str, list[Any]], strict: bool) -> None:
        self.out: list[str] = []
        self._strict = strict
        self._defined = defined
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._depth = 0

    def nodes(self, nodes: list[Any], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.out.append(node.text)
            elif isinstance(node, Branch):
                self._branch(node, dot)
            elif isinstance(node, Include):
                self._include(node, dot)
            elif isinstance(node, Jump):
                raise _JumpError(node.word)
            else:
                value = self._pipe(node, dot)
                if not node.variables:
                    self.out.append(show(value))

    def _branch(self, branch: Branch, dot: Any) -> None:
        depth = len(self._variables)
        value = self._pipe(branch.pipe, dot, bind=branch.word != "range")
        if branch.word == "range":
            items = _items(value, branch.pipe)
            for key, item in items:
                names = branch.pipe.variables
                pairs = dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
                self._variables += pairs.items()
                try:
                    self.nodes(branch.body, item)
                except _JumpError as jump:
                    if jump.args == ("break",):
                        break
                finally:
                    del self._variables[depth:]
            if not items:
                self.nodes(branch.otherwise, dot)
        elif is_true(value):
            self.nodes(branch.body, value if branch.word == "with" else dot)
        else:
            self.nodes(branch.otherwise, dot)
        del self._variables[depth:]

    def _include(self, node: Include, dot: Any) -> None:
        if node.name not in self._defined:
            _refuse(node, f"template {json.dumps(node.name)} not defined")
        if self._depth == _DEPTH:
            _refuse(node, f"exceeded maximum template depth ({_DEPTH})")
        value = self._pipe(node.pipe, dot) if node.pipe else None
        variables, self._variables = self._variables, [("$", value)]
        self._depth += 1
        self.nodes(self._defined[node.name], value)
        self._depth -= 1
        self._variables = variables

    def _pipe(self, pipe: Pipe, dot: Any, *, bind: bool = True) -> Any:
        value: Any = None
        for index, call in enumerate(pipe.calls):
            value = self._call(call, dot, [value] if index else [])
        if bind and pipe.variables:
            self._set(pipe, value)
        return value

    def _set(self, pipe: Pipe, value: Any) -> None:
        name = pipe.variables[0]
        if pipe.assigns:
            for index in range(len(self._variables) - 1, -1, -1):
                if self._variables[index][0] == name:
                    self._variables[index] = (name, value)
                    return
            _refuse(pipe, f"undefined variable: {name}")
        self._variables.append((name, value))

    def _call(self, call: Call, dot: Any, piped: list[Any]) -> Any:
        head = call.head
        if isinstance(head, Function):
            return self._function(head, call, dot, piped)
        arguments = [self._value(item, dot) for item in call.arguments] + piped
        if isinstance(head, Path):
            if head.root == "(":
                return self._walk(arguments[0], head, [])
            return self._path(head, dot, arguments, call.arguments)
        if isinstance(head, Constant) and head.value is None:
            _refuse(head, "nil is not a command")
        if arguments:
            _refuse(head, f"can't give argument to non-function {head.source}")
        return self._value(head, dot)

    def _function(self, head: Function, call: Call, dot: Any, piped: list[Any]) -> Any:
        signature = SIGNATURES[head.name]
        count = len(call.arguments) + len(piped)
        if count < len(signature.types) or (count > len(signature.types) and not signature.more):
            least = "at least " if signature.more else ""
            _refuse(
                head, f"wrong number of args for {head.name}: want {least}{len(signature.types)} got {count}"
            )
        arguments = []
        for index, item in enumerate(call.arguments):
            value = self._value(item, dot)
            wanted = signature.types[index] if index < len(signature.types) else "any"
            _fit(value, wanted, item)
            arguments.append(value)
            if head.name in ("and", "or") and is_true(value) == (head.name == "or"):
                return value
        for value in piped:
            index = len(arguments)
            _fit(value, signature.types[index] if index < len(signature.types) else "any", call)
            arguments.append(value)
        try:
            return FUNCTIONS[head.name](*arguments)
        except (TypeError, ValueError, LookupError) as error:
            text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
            _refuse(call, f"error calling {head.name}: {text}")

    def _value(self, node: Any, dot: Any) -> Any:
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Pipe):
            return self._pipe(node, dot)
        if isinstance(node, Path):
            return self._path(node, dot, [], [])
        return self._call(node if isinstance(node, Call) else Call(node, [], node.source, node.at), dot, [])

    def _path(self, path: Path, dot: Any, arguments: list[Any], given: list[Any]) -> Any:
        if path.root == ".":
            return self._walk(dot, path, arguments, given)
        for name, value in reversed(self._variables):
            if name == path.root:
                return self._walk(value, path, arguments, given)
        return fail(f'undefined variable "{path.root}"')

    def _walk(self, value: Any, path: Path, arguments: list[Any], given: list[Any] | None = None) -> Any:
        for index, name in enumerate(path.names):
            last = index == len(path.names) - 1
            if isinstance(value, Fields):
                value = _field(value, name, path, arguments if last else [], given or [])
            elif isinstance(value, dict):
                if name not in value and self._strict:
                    _refuse(path, f'map has no entry for key "{name}"')
                value = go_text(name) if name in value and value[name] is None else value.get(name)
            elif isinstance(value, Nil) and (value.type or self._strict):
                _refuse(path, f"nil pointer evaluating {value.type or 'interface {}'}.{name}")
            elif value is None or isinstance(value, Nil):
                value = None
            else:
                # what is strict is raw JSON, where Go knows no types
                kind = "interface {}" if self._strict else go_type(value)
                _refuse(path, f"can't evaluate field {name} in type {kind}")
        return value


def _field(value: Fields, name: str, path: Path, arguments: list[Any], given: list[Any]) -> Any:
    """Return a field of computed data, or what its method makes of the arguments."""
    try:
        want = value.wants(name)
    except KeyError:
        _refuse(path, f"can't evaluate field {name} in type {value.kind}")
    if want < 0 and arguments:
        _refuse(path, f"{name} has arguments but cannot be invoked as function")
    if want != len(arguments) and want >= 0:
        _refuse(path, f"wrong number of args for {name}: want {want} got {len(arguments)}")
    for argument, node in zip(arguments, given, strict=False):
        _fit(argument, "string", node)
    try:
        return value.field(name, arguments)
    except LookupError as error:
        _refuse(path, str(error.args[0]))


def _fit(value: Any, wanted: str, node: Any) -> None:
    """Refuse an argument of another type than a function takes."""
    if wanted == "any" or (value is None and not isinstance(node, Constant)):
        return
    found = go_type(value)
    if found == wanted or (wanted == "[]string" and isinstance(value, list | Nil)):
        return
    if isinstance(node, Constant) and value is None:
        _refuse(node, f"cannot assign nil to {wanted}")
    if isinstance(node, Constant) and wanted in ("string", "int"):
        word = "integer" if wanted == "int" else wanted
        _refuse(node, f"expected {word}; found {node.source}")
    _refuse(node, f"wrong type for value; expected {wanted}; got {found}")


def _refuse(node: Any, message: str) -> NoReturn:
    """Raise what Go says of a node that can't be executed."""
    raise TemplateError(f'template: {node.at}: executing "" at <{node.source}>: {message}')


def _items(value: Any, pipe: Pipe) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if value is None or isinstance(value, Nil):
        return []
    _refuse(pipe, f"range can't iterate over {show(value)}")
