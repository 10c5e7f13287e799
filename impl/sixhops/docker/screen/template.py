"""Go's text/template, the part that `--format` is used with: fields, index, json, len, if, range, with, variables, printf.

`parse` makes a `Template` of a text, `Template.render` fills it in. Data is JSON (dict, list, str, int, float, bool, None)
or a `Fields`, whose fields are computed. What isn't supported is a TemplateError, never text that passes through.

A template is a tree of nodes; `_Parser` builds it from tokens, `_Run` walks it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sixhops.docker.screen.templatefunctions import FUNCTIONS, Fields, TemplateError, go_text, is_true, show

__all__ = ["Fields", "Template", "TemplateError", "parse"]

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<char>\'(?:[^\'\\]|\\.)\')|(?P<number>[+-]?\d[\w.]*)'
    r"|(?P<sign>:=|[|()=,])|(?P<path>(?:\$\w*|\.)?(?:\w+)?(?:\.\w+)*))"
)
_WORDS = {"if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"}


@dataclass(slots=True)
class _Text:
    text: str


@dataclass(slots=True)
class _Call:
    """One command of a pipeline: a function or a value, with arguments."""

    head: Any
    arguments: list[Any]
    source: str = ""
    at: str = ":1"


@dataclass(slots=True)
class _Pipe:
    calls: list[_Call]
    variables: list[str] = field(default_factory=list)
    assigns: bool = False


@dataclass(slots=True)
class _Path:
    """`.A.B`, `$x.A`: where it starts and the fields after that. `source` is how it was written, `at` where (line and
    byte, as Go counts).
    """

    root: str
    names: list[str]
    source: str
    at: str = ":1"


@dataclass(slots=True)
class _Constant:
    value: Any


@dataclass(slots=True)
class _Function:
    name: str


@dataclass(slots=True)
class _Branch:
    word: str
    pipe: _Pipe
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


class Template:
    """A parsed template."""

    def __init__(self, nodes: list[Any]) -> None:
        self._nodes = nodes

    def render(self, data: Any, *, strict: bool = False) -> str:
        """Return the text for `data`. `strict`: a missing key is an error instead of `<no value>`.

        Raises TemplateError.
        """
        run = _Run(data, strict)
        run.nodes(self._nodes, data)
        return "".join(run.out)


def parse(text: str) -> Template:
    """Parse a template. Raises TemplateError with Go's words."""
    return Template(_Parser(text).parse())


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = self._split(text)
        self._next = 0

    def parse(self) -> list[Any]:
        nodes, word = self._list()
        if word:
            _fail(f"unexpected {{{{{word.split()[0]}}}}}")
        return nodes

    @staticmethod
    def _split(text: str) -> list[tuple[bool, str, int]]:
        """Return (is an action, text, offset) with the trimming of `{{-` and `-}}` done."""
        pieces: list[tuple[bool, str, int]] = []
        position, trim = 0, False
        for found in _ACTION.finditer(text):
            before = text[position : found.start()]
            before = before.lstrip() if trim else before
            pieces.append((False, before.rstrip() if found[1] else before, position))
            pieces.append((True, found[2].strip(), found.start(2) + len(found[2]) - len(found[2].lstrip())))
            position, trim = found.end(), bool(found[3])
        rest = text[position:]
        if "{{" in rest:
            _fail("unclosed action")
        pieces.append((False, rest.lstrip() if trim else rest, position))
        return pieces

    def _list(self) -> tuple[list[Any], str]:
        """Read nodes until an end or else; return them and that action."""
        nodes: list[Any] = []
        while self._next < len(self._pieces):
            action, text, offset = self._pieces[self._next]
            self._next += 1
            if not action:
                if text:
                    nodes.append(_Text(text))
                continue
            if text.startswith("/*") and text.endswith("*/"):
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                return nodes, text
            if word in ("if", "range", "with"):
                nodes.append(self._branch(word, text[len(word) :], offset + len(word)))
            elif word in _WORDS:
                _fail(f"{{{{{word}}}}} is not supported")
            elif not text:
                _fail("missing value for command")
            else:
                nodes.append(_Tokens(text, offset).pipeline())
        return nodes, ""

    def _branch(self, word: str, text: str, offset: int) -> _Branch:
        if not text.strip():
            _fail(f"missing value for {word}")
        branch = _Branch(word, _Tokens(text, offset).pipeline(ranging=word == "range"))
        branch.body, closing = self._list()
        if closing.startswith("else"):
            rest = closing[4:].strip()
            if rest.startswith("if "):
                branch.otherwise = [self._branch("if", rest[2:], offset)]
                return branch
            if rest:
                _fail(f"unexpected {rest!r} after else")
            branch.otherwise, closing = self._list()
        if closing.split() != ["end"]:
            _fail("unexpected EOF" if not closing else f"expected end; found {{{{{closing}}}}}")
        return branch


class _Word(str):
    """A token that knows its offset in the template."""

    __slots__ = ("offset",)
    offset: int


class _Tokens:
    """The inside of one action."""

    def __init__(self, text: str, offset: int) -> None:
        self._tokens: list[tuple[str, _Word]] = []
        self._text = text
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if (
                found is None
                or found.lastgroup is None
                or found.end() == position
                or not found[found.lastgroup]
            ):
                rest = text[position:].strip()
                if rest[0] in "\"'`":
                    _fail("unterminated quoted string")
                _fail(f"unexpected {json.dumps(rest[0])} in command")
            spaced = found.start(found.lastgroup) > found.start() or position == 0
            self._tokens.append((found.lastgroup, _Word(found[found.lastgroup])))
            self._tokens[-1][1].offset = offset + found.start(found.lastgroup)
            if found.lastgroup == "path" and not spaced and self._tokens[-2][1] == ")":
                # a field of what stands in parentheses
                self._tokens[-1] = ("after", self._tokens[-1][1])
            position = found.end()

    def pipeline(self, *, ranging: bool = False) -> _Pipe:
        """Read all tokens as one pipeline, with `$x :=` in front where there is one."""
        pipe = _Pipe([])
        words = [str(token) for _, token in self._tokens]
        for sign in (":=", "="):
            if sign in words:
                index = words.index(sign)
                names = [word for word in words[:index] if word != ","]
                if not all(re.fullmatch(r"\$\w+", name) for name in names) or len(names) > (
                    2 if ranging else 1
                ):
                    _fail(f'unexpected "{sign}" in operand')
                pipe.variables, pipe.assigns = names, sign == "="
                del self._tokens[: index + 1]
                break
        pipe.calls = self._calls(closing=False)
        if self._tokens:
            _fail(f"unexpected {json.dumps(self._tokens[0][1])} in command")
        return pipe

    def _calls(self, *, closing: bool) -> list[_Call]:
        calls = [self._call()]
        while self._tokens and self._tokens[0][1] == "|":
            self._tokens.pop(0)
            calls.append(self._call())
        if closing:
            if not self._tokens or self._tokens[0][1] != ")":
                _fail("unclosed left paren")
            self._tokens.pop(0)
        return calls

    def _call(self) -> _Call:
        operands: list[Any] = []
        before = [word for _, word in self._tokens]
        while self._tokens and self._tokens[0] not in (("sign", "|"), ("sign", ")")):
            operands.append(self._operand())
        if not operands:
            _fail("missing value for command")
        used = before[: len(before) - len(self._tokens)]
        return _Call(operands[0], operands[1:], " ".join(used), f":1:{used[0].offset}")

    def _operand(self) -> Any:
        kind, text = self._tokens.pop(0)
        if kind == "string":
            return _Constant(text[1:-1] if text[0] == "`" else _unquote(text))
        if kind == "char":
            return _Constant(ord(_unquote(f'"{text[1:-1]}"')))
        if kind == "number":
            return _Constant(_number(text))
        if text == "(":
            inner = _Pipe(self._calls(closing=True))
            if self._tokens and self._tokens[0][0] == "after":
                after = self._tokens.pop(0)[1]
                return _Call(_Path("(", after.strip(".").split("."), after), [inner])
            return inner
        if kind == "sign":
            _fail(f"unexpected {json.dumps(text)} in operand")
        return _path(text)


class _Run:
    def __init__(self, data: Any, strict: bool) -> None:
        self.out: list[str] = []
        self._strict = strict
        self._variables: list[tuple[str, Any]] = [("$", data)]

    def nodes(self, nodes: list[Any], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, _Text):
                self.out.append(node.text)
            elif isinstance(node, _Branch):
                self._branch(node, dot)
            else:
                value = self._pipe(node, dot)
                if not node.variables:
                    self.out.append(show(value))

    def _branch(self, branch: _Branch, dot: Any) -> None:
        depth = len(self._variables)
        value = self._pipe(branch.pipe, dot, bind=branch.word != "range")
        if branch.word == "range":
            items = _items(value)
            for key, item in items:
                names = branch.pipe.variables
                pairs = dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
                self._variables += pairs.items()
                self.nodes(branch.body, item)
                del self._variables[depth:]
            if not items:
                self.nodes(branch.otherwise, dot)
        elif is_true(value):
            self.nodes(branch.body, value if branch.word == "with" else dot)
        else:
            self.nodes(branch.otherwise, dot)
        del self._variables[depth:]

    def _pipe(self, pipe: _Pipe, dot: Any, *, bind: bool = True) -> Any:
        value: Any = None
        for index, call in enumerate(pipe.calls):
            value = self._call(call, dot, [value] if index else [])
        if bind and pipe.variables:
            self._set(pipe.variables[0], value, assigns=pipe.assigns)
        return value

    def _set(self, name: str, value: Any, *, assigns: bool) -> None:
        if assigns:
            for index in range(len(self._variables) - 1, -1, -1):
                if self._variables[index][0] == name:
                    self._variables[index] = (name, value)
                    return
            _fail(f'undefined variable "{name}"')
        self._variables.append((name, value))

    def _call(self, call: _Call, dot: Any, piped: list[Any]) -> Any:
        arguments = [self._value(item, dot) for item in call.arguments] + piped
        head = call.head
        if isinstance(head, _Function):
            if head.name in ("and", "or"):
                return next((a for a in arguments if is_true(a) == (head.name == "or")), arguments[-1])
            try:
                return FUNCTIONS[head.name](*arguments)
            except (TypeError, ValueError, LookupError) as error:
                text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
                raise TemplateError(
                    f'template: {call.at}: executing "" at <{call.source}>: error calling {head.name}: {text}'
                ) from error
        if isinstance(head, _Path):
            if head.root == "(":
                return self._walk(arguments[0], head, [])
            return self._path(head, dot, arguments)
        if arguments:
            _fail(f"can't give argument to non-function {show(self._value(head, dot))}")
        return self._value(head, dot)

    def _value(self, node: Any, dot: Any) -> Any:
        if isinstance(node, _Constant):
            return node.value
        if isinstance(node, _Pipe):
            return self._pipe(node, dot)
        if isinstance(node, _Path):
            return self._path(node, dot, [])
        return self._call(node if isinstance(node, _Call) else _Call(node, []), dot, [])

    def _path(self, path: _Path, dot: Any, arguments: list[Any]) -> Any:
        if path.root == ".":
            return self._walk(dot, path, arguments)
        for name, value in reversed(self._variables):
            if name == path.root:
                return self._walk(value, path, arguments)
        return _fail(f'undefined variable "{path.root}"')

    def _walk(self, value: Any, path: _Path, arguments: list[Any]) -> Any:
        for index, name in enumerate(path.names):
            last = index == len(path.names) - 1
            where = f'template: {path.at}: executing "" at <{path.source}>: '
            if isinstance(value, Fields):
                try:
                    value = value.field(name, arguments if last else [])
                except (KeyError, TypeError) as error:
                    raise TemplateError(f"{where}can't evaluate field {name} in type {value.kind}") from error
            elif isinstance(value, dict):
                if name not in value and self._strict:
                    raise TemplateError(f'{where}map has no entry for key "{name}"')
                value = go_text(name) if name in value and value[name] is None else value.get(name)
            elif value is None or type(value).__name__ == "Nil":
                if self._strict:
                    raise TemplateError(f"{where}nil data; no entry for key {json.dumps(name)}")
                value = None
            else:
                raise TemplateError(f"{where}can't evaluate field {name} in type {_kind(value)}")
        return value


def _path(text: _Word) -> Any:
    # Go tells the place of the second field of a chain
    first, dot, _ = text[1:].partition(".")
    at = f":1:{text.offset + (len(first) + 1 if dot else 0)}"
    if text == ".":
        return _Path(".", [], text, at)
    if text.startswith("."):
        return _Path(".", text[1:].split("."), text, at)
    if text.startswith("$"):
        root, *names = text.split(".")
        return _Path(root, names, text, at)
    constants = {"true": True, "false": False, "nil": None}
    if text in constants:
        return _Constant(constants[text])
    if text in FUNCTIONS or text in ("and", "or"):
        return _Function(text)
    return _fail(f'function "{text}" not defined')


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if not is_true(value):
        return []
    raise TemplateError(f'template: :1: executing "": range can\'t iterate over {show(value)}')


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            _fail(f"bad number syntax: {json.dumps(text)}")


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        try:
            return text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
        except UnicodeDecodeError:
            _fail("invalid syntax")


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    return names.get(type(value), "interface {}")


def _fail(message: str) -> NoReturn:
    raise TemplateError(f"template: :1: {message}")
