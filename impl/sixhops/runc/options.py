"""A command line parser as small as the runtime needs it, with runc's habits. Pure.

One or two dashes alike, `--name value` or `--name=value`; the options of the program end at the command, those of a
command at its first argument. argparse would cost every small command 6 ms of import and has other habits.
"""

from __future__ import annotations

from sixhops.runc.errors import UsageFault

__all__ = ["FLAG", "LIST", "VALUE", "Parsed", "parse"]

FLAG, VALUE, LIST = "flag", "value", "list"


class Parsed:
    """What was given: values by the option's long name, and the arguments. A plain class: see `state.Container`."""

    __slots__ = ("arguments", "flags", "lists", "values")

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.arguments: list[str] = []

    def number(self, name: str, default: int = 0) -> int:
        """Return an option's value as an integer; raises UsageFault if it is none."""
        text = self.values.get(name)
        if text is None:
            return default
        try:
            return int(text)
        except ValueError:
            raise UsageFault(f'invalid value "{text}" for flag -{name}: parse error') from None


def parse(
    words: list[str], options: dict[str, str], short: dict[str, str], command: str | None = None
) -> Parsed:
    """Return the options in front of the first argument, and the arguments. Raises UsageFault."""
    parsed = Parsed()
    position = 0
    while position < len(words):
        word = words[position]
        if not word.startswith("-") or word == "-":
            break
        position += 1
        if word == "--":
            break
        name, separator, value = word.lstrip("-").partition("=")
        given = name
        name = short.get(name, name)
        kind = options.get(name)
        if kind is None:
            text = f"flag provided but not defined: -{given}"
            raise UsageFault(text, command, headline=f"Incorrect Usage: {text}")
        if kind == FLAG:
            if not separator or value.lower() in {"true", "1", "t"}:
                parsed.flags.add(name)
            continue
        if not separator:
            if position >= len(words):
                text = f"flag needs an argument: -{given}"
                raise UsageFault(text, command, headline=f"Incorrect Usage: {text}")
            value = words[position]
            position += 1
        if kind == LIST:
            parsed.lists.setdefault(name, []).append(value)
        else:
            parsed.values[name] = value
    parsed.arguments = words[position:]
    return parsed
