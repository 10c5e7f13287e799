"""Options as docker's command line takes them, which is neither getopt's way nor argparse's.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-it` (switches together), `--` ends them.
A switch takes a value only after `=`. Some commands stop at their first argument (`run IMAGE -x` is the
container's -x), the others take options anywhere. Wrong options answer in the words of docker 20.10.

A command's options are a tuple of `Flag`; `parse` turns arguments into `Options`. No output happens here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.docker import values
from sixhops.docker.errors import DockerError, FlagError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "PLATFORM",
    "TRUST",
    "Flag",
    "HelpRequested",
    "Options",
    "check_trust",
    "describe",
    "flag",
    "parse",
]


class HelpRequested(Exception):  # noqa: N818 - not a failure: the person asked
    """`--help` stands among the options; `deprecated` when it was written -h."""

    def __init__(self, deprecated: bool = False) -> None:
        super().__init__()
        self.deprecated = deprecated


@dataclass(frozen=True, slots=True)
class Flag:
    """One option. `kind` is the word for its value in the help ("" for a switch), `read` turns the text into a
    value and raises ValueError; `many` collects values in a list, `spread` those that one text holds as well. `shown`
    is the default as the help tells it.
    """

    name: str
    short: str
    kind: str
    help: str
    default: Any
    read: Callable[[str], Any]
    many: bool = False
    shown: str = ""
    hidden: bool = False
    same_as: str = ""
    spread: bool = False


@dataclass(slots=True)
class Options:
    """What was given: the value of each flag by name, the names that were given, and the other arguments."""

    values: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


#: How each kind reads its text, whether it repeats, and its value when it isn't given.
_KINDS: dict[str, tuple[Callable[[str], Any], bool, Any]] = {
    "": (values.boolean, False, False),
    "string": (str, False, ""),
    "int": (values.integer, False, 0),
    "uint16": (values.unsigned16, False, 0),
    "bytes": (values.size_in_bytes, False, 0),
    "decimal": (values.billionths, False, 0),
    "duration": (values.duration, False, 0),
    "list": (str, True, None),
    "map": (str, True, None),
    "filter": (values.name_and_value, True, None),
    "strings": (values.separated, True, None),
    "stringToString": (values.pairs, True, None),
}
#: kinds whose text holds several values
_SPREAD = {"strings", "stringToString"}


def flag(
    name: str,
    kind: str = "",
    short: str = "",
    help: str = "",  # noqa: A002 - what docker and argparse call it
    *,
    default: Any = None,
    read: Callable[[str], Any] | None = None,
    many: bool | None = None,
    shown: str = "",
    hidden: bool = False,
    same_as: str = "",
) -> Flag:
    """Return a Flag with what its kind implies filled in. `same_as` names the flag that this one spells differently."""
    kind_read, kind_many, kind_default = _KINDS.get(kind, (str, False, ""))
    return Flag(
        name=name,
        short=short,
        kind=kind,
        help=help,
        default=kind_default if default is None else default,
        read=read or kind_read,
        many=kind_many if many is None else many,
        shown=shown,
        hidden=hidden,
        same_as=same_as,
        spread=kind in _SPREAD,
    )


#: Signatures of images are not looked at; that they be is refused when the command is run (`check_trust`).
TRUST = flag("disable-content-trust", help="Don't look at signatures of images", default=True, shown="true")
PLATFORM = flag(
    "platform",
    "string",
    help="Platform of the image, when there are several",
    default=os.environ.get("DOCKER_DEFAULT_PLATFORM", ""),
)


def check_trust(options: Options) -> None:
    """Raise DockerError when signatures of images shall be looked at, which this client can't."""
    wanted = not options["disable-content-trust"]
    if "disable-content-trust" not in options.given:
        wanted = os.environ.get("DOCKER_CONTENT_TRUST", "") in ("1", "t", "T", "true", "TRUE", "True")
    if wanted:
        raise DockerError("content trust is on, and this client can't look at signatures of images")


def parse(flags: Sequence[Flag], arguments: Sequence[str], *, anywhere: bool = True) -> Options:
    """Read `arguments` (without the command's name). `anywhere` false: the first argument ends the options.

    Raises FlagError with docker's message, HelpRequested for --help.
    """
    long = {item.name: item for item in flags}
    short = {item.short: item for item in flags if item.short}
    options = Options({item.name: [] if item.many else item.default for item in flags if not item.same_as})
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            options.arguments += rest
            break
        if word.startswith("--"):
            _long(word, rest, long, options)
        elif word.startswith("-") and word != "-":
            _short(word, rest, short, options)
        else:
            options.arguments.append(word)
            if not anywhere:
                options.arguments += rest
                break
    return options


def describe(flags: Sequence[Flag], width: int) -> str:
    """Return the table of options for a help text, wrapped at `width` columns; every line ends with a newline."""
    import textwrap  # noqa: PLC0415 - only help needs it

    rows = []
    for item in sorted(
        (item for item in flags if not item.hidden and not item.same_as), key=lambda f: f.name
    ):
        left = f"  -{item.short}, --{item.name}" if item.short else f"      --{item.name}"
        if item.kind:
            left += f" {item.kind}"
        rows.append((left, f"{item.help} (default {item.shown})" if item.shown else item.help))
    column = max((len(left) for left, _ in rows), default=0) + 3
    lines = []
    for left, right in rows:
        first, *more = textwrap.wrap(right, max(width - column, 24)) or [""]
        lines.append(f"{left:<{column}}{first}".rstrip())
        lines += [" " * column + line for line in more]
    return "".join(f"{line}\n" for line in lines)


def _long(word: str, rest: list[str], flags: dict[str, Flag], options: Options) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise FlagError(f"bad flag syntax: {word}")
    item = flags.get(name)
    if name == "help":
        raise HelpRequested
    if item is None:
        raise FlagError(f"unknown flag: --{name}")
    if not equals:
        if item.kind == "":
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise FlagError(f"flag needs an argument: --{name}")
    _set(item, value, options)


def _short(word: str, rest: list[str], flags: dict[str, Flag], options: Options) -> None:
    letters = word[1:]
    while letters:
        letter, after = letters[0], letters[1:]
        item = flags.get(letter)
        if item is None:
            if letter == "h":
                raise HelpRequested(deprecated=True)
            raise FlagError(f"unknown shorthand flag: {letter!r} in -{letters}")
        letters = ""
        if len(after) > 1 and after[0] == "=":
            value = after[1:]
        elif item.kind == "":
            value, letters = "true", after
        elif after:
            value = after
        elif rest:
            value = rest.pop(0)
        else:
            raise FlagError(f"flag needs an argument: {letter!r} in -{letter}{after}")
        _set(item, value, options)


def _set(item: Flag, text: str, options: Options) -> None:
    try:
        value = item.read(text)
    except ValueError as error:
        name = f"-{item.short}, --{item.name}" if item.short else f"--{item.name}"
        raise FlagError(f'invalid argument {values.quote(text)} for "{name}" flag: {error}') from error
    target = item.same_as or item.name
    if item.many and item.spread:
        options.values[target] += value
    elif item.many:
        options.values[target].append(value)
    else:
        options.values[target] = value
    options.given.add(target)
