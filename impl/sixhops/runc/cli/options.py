"""A command line parser as small as the runtime needs it, with runc's habits. Pure.

One or two dashes alike, `--name value` or `--name=value`; the options of the program end at the command, those of a
command at its first argument. argparse would cost every small command 6 ms of import and has other habits.
"""

from __future__ import annotations

from sixhops.runc.errors import UsageFault

__all__ = ["DURATION", "FLAG", "LIST", "NUMBER", "NUMBERS", "VALUE", "Parsed", "parse", "parse_duration"]

FLAG, VALUE, LIST, NUMBER, NUMBERS, DURATION = "flag", "value", "list", "number", "numbers", "duration"
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}


class Parsed:
    """What was given: values by the option's long name, and the arguments. A plain class: see `state.Container`."""

    __slots__ = ("arguments", "denied", "flags", "lists", "values")

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.denied: set[str] = set()  # flags that were given as `--flag=false`
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.arguments: list[str] = []

    def number(self, name: str) -> int:
        """Return the value of a NUMBER, 0 if it was not given."""
        return int(self.values.get(name, "0"), 0)


def parse(
    words: list[str], options: dict[str, str], short: dict[str, str], command: str | None = None
) -> Parsed:
    """Return the options in front of the first argument, and the arguments. Raises UsageFault."""
    parsed = Parsed()
    spelled: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if not word.startswith("-") or word == "-":
            break
        position += 1
        if word == "--":
            break
        given, separator, value = word.lstrip("-").partition("=")
        name = short.get(given, given)
        kind = options.get(name)
        if kind is None:
            raise _wrong(f"flag provided but not defined: -{given}", command)
        if spelled.setdefault(name, given) != given:
            letter = next(letter for letter, long in short.items() if long == name)
            raise _wrong(f"Cannot use two forms of the same flag: {letter} {name}", command)
        if kind == FLAG:
            _set_flag(parsed, name, given, value if separator else "true", command)
            continue
        if not separator:
            if position >= len(words):
                raise _wrong(f"flag needs an argument: -{given}", command)
            value = words[position]
            position += 1
        if kind in {NUMBER, NUMBERS, DURATION}:
            _check_number(value, given, kind, command)
        if kind in {LIST, NUMBERS}:
            parsed.lists.setdefault(name, []).append(value)
        else:
            parsed.values[name] = value
    parsed.arguments = words[position:]
    return parsed


def parse_duration(text: str) -> float:
    """Return seconds from a duration such as `5s` or `1m30s`; raises ValueError."""
    seconds, rest = 0.0, text.removeprefix("-")
    if not rest:
        raise ValueError(text)
    while rest and rest != "0":
        after = rest.lstrip("0123456789.")
        number = rest[: len(rest) - len(after)]
        rest = after.lstrip("hmsuµn")
        unit = after[: len(after) - len(rest)]
        if unit not in _SECONDS:
            raise ValueError(text)
        seconds += float(number) * _SECONDS[unit]
    return -seconds if text.startswith("-") else seconds


def _wrong(text: str, command: str | None) -> UsageFault:
    return UsageFault(text, command, headline=f"Incorrect Usage: {text}")


def _set_flag(parsed: Parsed, name: str, given: str, value: str, command: str | None) -> None:
    word = value.lower()
    if word in _TRUE:
        parsed.flags.add(name)
    elif word in _FALSE:
        parsed.flags.discard(name)
        parsed.denied.add(name)
    else:
        raise _wrong(f'invalid boolean value "{value}" for -{given}: parse error', command)


def _check_number(value: str, given: str, kind: str, command: str | None) -> None:
    try:
        if kind == DURATION:
            parse_duration(value)
        else:
            int(value, 0)
    except ValueError:
        why = f'strconv.ParseInt: parsing "{value}": invalid syntax' if kind == NUMBERS else "parse error"
        raise _wrong(f'invalid value "{value}" for flag -{given}: {why}', command) from None
