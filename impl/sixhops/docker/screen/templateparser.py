"""The text of a Go template read into a tree of nodes.

`_Split` cuts the text into texts and actions, `_Tokens` reads the inside of one action, `_Parser` nests the actions. What is
wrong is told in Go's words (text/template/parse).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sixhops.docker.screen.templatefunctions import FUNCTIONS, TemplateError

__all__ = [
    "Branch",
    "Call",
    "Constant",
    "Function",
    "Include",
    "Jump",
    "Path",
    "Pipe",
    "Text",
    "fail",
    "parse",
]

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<char>\'(?:[^\'\\]|\\.)\')|(?P<number>[+-]?\d[\w.]*)'
    r"|(?P<sign>:=|[|()=,])|(?P<path>(?:\$\w*|\.)?(?:\w+)?(?:\.\w+)*))"
)
#: What may follow a field or a name without a space.
_ENDS = " \t\r\n.,|:)("


@dataclass(slots=True)
class Text:
    """What stands between actions."""

    text: str


@dataclass(slots=True)
class Call:
    """One command of a pipeline: a function or a value, with arguments."""

    head: Any
    arguments: list[Any]
    source: str = ""
    at: str = ":1"


@dataclass(slots=True)
class Pipe:
    """Commands of which each gets the value of the one before, and the variables that get the last."""

    calls: list[Call]
    variables: list[str] = field(default_factory=list)
    assigns: bool = False

    @property
    def source(self) -> str:
        """How it was written."""
        return " | ".join(call.source for call in self.calls)

    @property
    def at(self) -> str:
        """Where its value comes from."""
        last = self.calls[-1]
        return last.head.at if isinstance(last.head, Path) else last.at


@dataclass(slots=True)
class Path:
    """`.A.B`, `$x.A`: where it starts and the fields after that. `source` is how it was written, `at` where (line and
    byte, as Go counts).
    """

    root: str
    names: list[str]
    source: str
    at: str = ":1"


@dataclass(slots=True)
class Constant:
    """A number, a text, true, false or nil."""

    value: Any
    source: str = ""
    at: str = ":1"


@dataclass(slots=True)
class Function:
    """The name of a function."""

    name: str
    source: str = ""
    at: str = ":1"


@dataclass(slots=True)
class Branch:
    """`if`, `range` or `with`, up to its end."""

    word: str
    pipe: Pipe
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Include:
    """`template "name" pipeline`."""

    name: str
    pipe: Pipe | None
    source: str
    at: str


@dataclass(slots=True)
class Jump:
    """`break` or `continue`."""

    word: str


def parse(text: str) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return a template's nodes, and those of the templates that it defines. Raises TemplateError."""
    parser = _Parser(text)
    return parser.parse(), parser.defined


def fail(message: str) -> NoReturn:
    """Raise a TemplateError that names the line alone, as Go's parser does."""
    raise TemplateError(f"template: :1: {message}")


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = self._split(text)
        self._next = 0
        self._variables = ["$"]
        self._ranges = 0
        self.defined: dict[str, list[Any]] = {}

    def parse(self) -> list[Any]:
        nodes, word = self._list()
        if word:
            fail(f"unexpected {{{{{word.split()[0]}}}}}")
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
            inside = rest.partition("{{")[2]
            if not inside.lstrip().startswith("/*"):
                _Tokens(inside, 0, [])  # what is wrong inside comes first
            fail("unclosed action" if not inside.lstrip().startswith("/*") else "unclosed comment")
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
                    nodes.append(Text(text))
                continue
            if text.startswith("/*"):
                if "*/" not in text[2:]:
                    fail("unclosed comment")
                if not text.endswith("*/"):
                    fail("comment ends before closing delimiter")
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                return nodes, text
            nodes += self._action(word, text, offset)
        return nodes, ""

    def _action(self, word: str, text: str, offset: int) -> list[Any]:
        if word in ("if", "range", "with"):
            return [self._branch(word, text[len(word) :], offset + len(word))]
        if word in ("define", "block"):
            return self._definition(word, text[len(word) :], offset + len(word))
        if word == "template":
            return [self._include(text[len(word) :], offset + len(word), f"{{{{{text}}}}}")]
        if word in ("break", "continue"):
            if not self._ranges:
                fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            return [Jump(word)]
        if not text:
            fail("missing value for command")
        return [_Tokens(text, offset, self._variables).pipeline()]

    def _branch(self, word: str, text: str, offset: int) -> Branch:
        if not text.strip():
            fail(f"missing value for {word}")
        depth = len(self._variables)
        branch = Branch(word, _Tokens(text, offset, self._variables).pipeline(ranging=word == "range"))
        self._ranges += word == "range"
        branch.body, closing = self._list()
        self._ranges -= word == "range"
        if closing.startswith("else"):
            rest = closing[4:].strip()
            if rest.startswith("if "):
                branch.otherwise = [self._branch("if", rest[2:], offset)]
                return branch
            if rest:
                fail(f"unexpected {rest!r} after else")
            branch.otherwise, closing = self._list()
        if closing.split() != ["end"]:
            fail("unexpected EOF" if not closing else f"expected end; found {{{{{closing}}}}}")
        del self._variables[depth:]
        return branch

    def _definition(self, word: str, text: str, offset: int) -> list[Any]:
        """Read `define` or `block`; return the nodes that stand in its place."""
        included = [self._include(text, offset, f"{{{{{word}{text}}}}}")] if word == "block" else []
        if included and included[0].pipe is None:
            fail("missing value for block clause")
        tokens = _Tokens(text, offset, self._variables)
        name = tokens.name(f"{word} clause")
        variables, self._variables = self._variables, ["$"]
        body, closing = self._list()
        self._variables = variables
        if closing.split() != ["end"]:
            fail("unexpected EOF" if not closing else f"unexpected {{{{{closing}}}}} in {word} clause")
        self.defined[name] = body
        return included

    def _include(self, text: str, offset: int, source: str) -> Include:
        tokens = _Tokens(text, offset, self._variables)
        at = tokens.place()
        name = tokens.name("template clause")
        return Include(name, None if tokens.empty else tokens.pipeline(), source, at)


class _Word(str):
    """A token that knows its offset in the template."""

    __slots__ = ("offset",)
    offset: int


class _Tokens:
    """The inside of one action. `variables` are the ones that it may use; those that it declares are added."""

    def __init__(self, text: str, offset: int, variables: list[str]) -> None:
        self._tokens: list[tuple[str, _Word]] = []
        self._variables = variables
        position = 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if (
                found is None
                or found.lastgroup is None
                or found.end() == position
                or not found[found.lastgroup]
            ):
                self._refuse(text, position)
            kind = found.lastgroup
            spaced = found.start(kind) > found.start() or position == 0
            self._tokens.append((kind, _Word(found[kind])))
            self._tokens[-1][1].offset = offset + found.start(kind)
            if kind == "path" and not spaced:
                before = self._tokens[-2]
                if before[1] == ")":
                    # a field of what stands in parentheses
                    self._tokens[-1] = ("after", self._tokens[-1][1])
                elif before[0] == "path":
                    fail("unexpected <.> in operand")
            position = found.end()

    def _refuse(self, text: str, position: int) -> NoReturn:
        rest = text[position:].strip()
        if rest[0] in "\"'`":
            fail({"'": "unterminated character constant", "`": "unterminated raw quoted string"}.get(
                rest[0], "unterminated quoted string"
            ))  # fmt: skip
        follows = self._tokens and self._tokens[-1][0] == "path" and text[position] not in _ENDS
        if follows or not rest[0].isascii():
            fail(
                f"{'bad' if follows else 'unrecognized'} character{'' if follows else ' in action:'} {_named(rest[0])}"
            )
        fail(f"unexpected {json.dumps(rest[0])} in command")

    @property
    def empty(self) -> bool:
        """Tell whether all tokens are read."""
        return not self._tokens

    def place(self) -> str:
        """Return where the next token stands."""
        return f":1:{self._tokens[0][1].offset}" if self._tokens else ":1"

    def name(self, clause: str) -> str:
        """Read a name in quotes."""
        if not self._tokens or self._tokens[0][0] != "string":
            fail(f"unexpected {json.dumps(self._tokens[0][1]) if self._tokens else '}}'} in {clause}")
        return _string(self._tokens.pop(0)[1])

    def pipeline(self, *, ranging: bool = False) -> Pipe:
        """Read all tokens as one pipeline, with `$x :=` in front where there is one."""
        pipe = Pipe([])
        words = [str(token) for _, token in self._tokens]
        for sign in (":=", "="):
            if sign in words:
                self._declared(pipe, words[: words.index(sign)], sign, ranging=ranging)
                break
        pipe.calls = self._calls(closing=False)
        if self._tokens:
            fail(f"unexpected {json.dumps(self._tokens[0][1])} in command")
        if not pipe.assigns:
            self._variables += pipe.variables
        return pipe

    def _declared(self, pipe: Pipe, words: list[str], sign: str, *, ranging: bool) -> None:
        names = [word for word in words if word != ","]
        if not names or not all(re.fullmatch(r"\$\w+", name) for name in names):
            fail(f'unexpected "{sign}" in operand')
        if len(names) > (2 if ranging else 1):
            fail(f"too many declarations in {'range' if ranging else 'command'}")
        pipe.variables, pipe.assigns = names, sign == "="
        del self._tokens[: len(words) + 1]

    def _calls(self, *, closing: bool) -> list[Call]:
        calls = [self._call()]
        while self._tokens and self._tokens[0][1] == "|":
            self._tokens.pop(0)
            if not self._tokens:
                break  # Go 1.19 lets a pipeline end so
            calls.append(self._call())
        if closing:
            if not self._tokens or self._tokens[0][1] != ")":
                fail("unclosed left paren")
            self._tokens.pop(0)
        return calls

    def _call(self) -> Call:
        operands: list[Any] = []
        before = [word for _, word in self._tokens]
        while self._tokens and self._tokens[0] not in (("sign", "|"), ("sign", ")")):
            operands.append(self._operand())
        if not operands:
            fail('unexpected "|" in command' if before[:1] == ["|"] else "missing value for command")
        used = before[: len(before) - len(self._tokens)]
        return Call(operands[0], operands[1:], " ".join(used), f":1:{used[0].offset}")

    def _operand(self) -> Any:
        kind, text = self._tokens.pop(0)
        at = f":1:{text.offset}"
        if kind == "string":
            return Constant(_string(text), text, at)
        if kind == "char":
            return Constant(ord(_unquote(f'"{text[1:-1]}"')), text, at)
        if kind == "number":
            return Constant(_number(text), text, at)
        if text == "(":
            inner = Pipe(self._calls(closing=True))
            if self._tokens and self._tokens[0][0] == "after":
                after = self._tokens.pop(0)[1]
                return Call(Path("(", after.strip(".").split("."), after), [inner], after, at)
            return inner
        if kind == "sign":
            fail(f"unexpected {json.dumps(text)} in operand")
        return self._path(text, at)

    def _path(self, text: _Word, at: str) -> Any:
        # Go tells the place of the second field of a chain
        first, dot, _ = text[1:].partition(".")
        place = f":1:{text.offset + (len(first) + 1 if dot else 0)}"
        if text == ".":
            return Path(".", [], text, place)
        if text.startswith("."):
            return Path(".", text[1:].split("."), text, place)
        if text.startswith("$"):
            root, *names = text.split(".")
            if root not in self._variables:
                fail(f'undefined variable "{root}"')
            return Path(root, names, text, place)
        constants = {"true": True, "false": False, "nil": None}
        if text in constants:
            return Constant(constants[text], text, at)
        if text in FUNCTIONS:
            return Function(text, text, at)
        fail(f'function "{text}" not defined')


def _named(character: str) -> str:
    """Return a character as Go's %#U writes it."""
    return f"U+{ord(character):04X} '{character}'"


def _string(text: str) -> str:
    return text[1:-1] if text[0] == "`" else _unquote(text)


def _number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            fail(f"bad number syntax: {json.dumps(text)}")


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        try:
            return text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
        except UnicodeDecodeError:
            fail("invalid syntax")
