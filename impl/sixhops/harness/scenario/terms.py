"""Kinds and texts that several groups of steps share."""

from __future__ import annotations

from typing import Final, NamedTuple

from sixhops.harness.scenario.kinds import (
    Choice,
    Data,
    Either,
    Flag,
    Key,
    Kind,
    ListOf,
    MapOf,
    Record,
    Text,
    Whole,
)

__all__ = [
    "API",
    "BODY",
    "BYTES",
    "COMMAND",
    "ERROR",
    "HEADERS",
    "HOPS",
    "NAME",
    "SAVE",
    "SHELL",
    "STREAMS",
    "TERMINAL",
    "TIME",
    "Modifier",
]

HOPS: Final = ("engine", "registry", "containerd", "shim", "runtime", "process")
NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*"


class Modifier(NamedTuple):
    """A key that stands beside an action: in steps of which kinds, what it takes there, and what it means."""

    name: str
    steps: tuple[str, ...]
    kind: Kind
    doc: str


TIME: Final = Text("a time such as 250ms, 10s or 2m", r"\d+(\.\d+)?(ms|s|m)")
HEADERS: Final = MapOf(Data("a header value"), "a mapping of headers")
API: Final = Either((Choice(("none",)), Text('a version in quotes, such as "1.40"', r"\d+\.\d+")))

BODY: Final = Record(
    "body",
    "What is sent, when it is not plain text.",
    {
        "text": Key(Text("text", templates=True), "The bytes of this text as UTF-8."),
        "base64": Key(Text("base64", templates=True), "These bytes, in base64."),
        "hex": Key(
            Text("hex digits", r"([0-9A-Fa-f]{2}|\s)*"), "These bytes, in hexadecimal; spaces are left out."
        ),
        "file": Key(Text("a path"), "A file beside the scenario, inside the scenarios folder."),
        "blob": Key(
            Text("a digest", templates=True),
            "A layer, configuration or manifest of one of the scenario's images, by its digest.",
        ),
        "repeat": Key(Whole("a count of at least 1", 1), "So many times over."),
        "chunked": Key(Flag(), "Sent with Transfer-Encoding: chunked."),
    },
    one_of=("text", "base64", "hex", "file", "blob"),
)
BYTES: Final = Either((BODY, Text("text", templates=True)))

STREAMS: Final = {
    "stdout": "What came on standard output.",
    "stderr": "What came on standard error.",
    "output": "Both in order of arrival; without frames the raw stream, or all that a terminal showed.",
}
SHELL: Final = {"exit": "The exit status.", **STREAMS}
ERROR: Final = {
    "error": "Why the step came to no end (connection cut, time-out); without it, any error fails the step."
}

COMMAND: Final = Either(
    (
        Text("a command line", r"(?s).*\S.*", templates=True),
        ListOf(Data("an argument"), "a list of arguments", 1),
    )
)
TERMINAL: Final = Record(
    "terminal",
    "The size of the terminal that the program runs on.",
    {
        "rows": Key(Whole("a count of at least 1", 1), "Rows.", required=True),
        "columns": Key(Whole("a count of at least 1", 1), "Columns.", required=True),
    },
)
SAVE: Final = MapOf(
    Either(
        (
            Record(
                "saved value",
                "A part of a text.",
                {
                    "from": Key(
                        Text("a place such as $.Id or $stdout", r"\$(?s:.*)"), "Where it is.", required=True
                    ),
                    "re": Key(
                        Text("a regular expression"),
                        "Its first group, or all that it matches.",
                        required=True,
                    ),
                },
            ),
            Text("a place such as $.Id or $stdout", r"\$(?s:.*)"),
        )
    ),
    "a mapping of variables",
    NAME,
    "a variable name",
)
