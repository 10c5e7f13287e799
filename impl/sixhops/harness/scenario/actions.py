"""Steps on the engine, the registry and the client, looks at the host, and what is done to background steps and to
the stack's programs.
"""

from __future__ import annotations

from typing import Final

from sixhops.harness.scenario.kinds import Choice, Data, Either, Flag, Key, ListOf, MapOf, Record, Text
from sixhops.harness.scenario.terms import (
    API,
    BODY,
    BYTES,
    COMMAND,
    ERROR,
    HEADERS,
    SHELL,
    STREAMS,
    TERMINAL,
    Modifier,
)

__all__ = ["ACTIONS", "FACETS", "HTTP", "MODIFIERS"]

_DAEMONS: Final = ("dockerd", "containerd", "registry")
_VICTIMS: Final = (*_DAEMONS, "shim", "container")

HTTP: Final = {
    "status": "The status code.",
    "reason": "The reason phrase of the status line.",
    "headers": "The headers; names in any case, values of repeated ones joined by a comma.",
    "json": "The body, as JSON.",
    "body": "The body, as text or bytes.",
    "stream": "The body as a list of JSON values, as progress and events are sent.",
    "frames": "The frames of a multiplexed stream: a list of {stream, data}.",
    "eof": "Whether the other side ended the stream.",
    **STREAMS,
}
_FILE: Final = {
    "exists": "Whether there is anything.",
    "type": "file, directory, link, fifo, socket, block or char.",
    "mode": "The permission bits, as a number.",
    "uid": "The owner's number.",
    "gid": "The group's number.",
    "size": "The size in bytes.",
    "target": "Where a link leads.",
    "text": "The content as text.",
    "json": "The content as JSON.",
    "lines": "The content as a list of JSON values, one a line.",
}
_SNAPSHOT: Final = {"processes": "The selected processes, each a mapping."}

_REQUEST_LINE: Final = Text(
    "METHOD /path", r"[A-Z]+ +(/|\$\{)(?s:.*)|\$\{row\.[^}]+\}(?s:.*)", templates=True
)

#: What a step of each kind lets one look at; hops come on top.
FACETS: Final[dict[str, dict[str, str]]] = {
    "request": {**HTTP, **ERROR},
    "registry": {**HTTP, **ERROR},
    "docker": {**SHELL, **ERROR},
    "processes": _SNAPSHOT,
    "file": _FILE,
}

ACTIONS: Final[dict[str, Key]] = {
    "request": Key(_REQUEST_LINE, "A request to the engine, such as `GET /containers/json`."),
    "registry": Key(_REQUEST_LINE, "A request straight to the registry, past the engine."),
    "docker": Key(
        COMMAND,
        "A command line of the docker client under test, without the leading `docker`. A word that is a "
        "`${name}` alone and names a list stands for its elements.",
    ),
    "processes": Key(
        Either((Choice(("all",)), Data("a mapping of what to select", matchers=True, mapping=True))),
        "The processes on the engine's host that have these fields.",
    ),
    "file": Key(
        Text("a path on the engine's host", r"(?s).+", templates=True),
        "What a path on the engine's host is, and what is in it.",
    ),
    "join": Key(
        Text("the name of a background step"),
        "Wait for a background step's end; expectations look at what it saw.",
    ),
    "await": Key(
        Text("the name of a background step"),
        "Wait until what a background step has received so far meets the expectations.",
    ),
    "send": Key(
        Record(
            "send",
            "What is written to which background step.",
            {
                "to": Key(Text("the name of a background step"), "The background step.", required=True),
                **{name: key for name, key in BODY.keys.items() if name != "chunked"},
            },
            one_of=BODY.one_of,
        ),
        "Write to the stdin of a background step.",
    ),
    "close_stdin": Key(
        Text("the name of a background step"),
        "Half-close a background step's connection: the other side reads end of file.",
    ),
    "disconnect": Key(
        Text("the name of a background step"),
        "Cut a background step's connection, as a client that goes away does.",
    ),
    "fault": Key(
        Record(
            "fault",
            "What happens to which process; the step ends once it has happened.",
            {
                "kill": Key(Choice(_VICTIMS), "Send a signal, SIGKILL unless `signal` says another."),
                "stop": Key(Choice(_VICTIMS), "Halt it with SIGSTOP."),
                "continue": Key(Choice(_VICTIMS), "Let it go on with SIGCONT."),
                "restart": Key(
                    Choice(_DAEMONS),
                    "Start it again with the same arguments, after SIGTERM when it still runs; "
                    "then wait until it answers.",
                ),
                "fill": Key(
                    Choice(("containerd",)),
                    "Leave it hardly room: over the blobs that it keeps lies a file system of 256 KiB, which has none "
                    "of them, until `drain`.",
                ),
                "drain": Key(Choice(("containerd",)), "Take that away again, with all that came into it."),
                "of": Key(
                    Text("a container's id", r"(?s).+", templates=True),
                    "Whose shim, or whose first process (`container`).",
                ),
                "signal": Key(Choice(("KILL", "TERM", "INT", "QUIT", "ABRT")), "Which signal."),
            },
            one_of=("kill", "stop", "continue", "restart", "fill", "drain"),
        ),
        "Do harm to a program of the stack: a daemon by its role, or a container's `shim` or first process. Only "
        "on stacks that sixhops starts. What is dead, halted or full at the end is mended.",
    ),
}

_TALK: Final = ("request", "registry")

#: What stands beside the actions above; what stands beside others as well is in `grammar`.
MODIFIERS: Final = (
    Modifier("api", ("request",), API, "The version to put before the path; `none` for no version."),
    Modifier(
        "query",
        _TALK,
        Data("a mapping of query parameters", mapping=True),
        "Query parameters, added to those in the path.",
    ),
    Modifier("headers", _TALK, HEADERS, "Request headers."),
    Modifier("json", _TALK, Data("any value"), "The body, as JSON."),
    Modifier("body", _TALK, BYTES, "The body, as text or bytes."),
    Modifier(
        "tar",
        ("request",),
        ListOf(Data("an entry", mapping=True), "a list of entries"),
        "The body, as a tar archive of entries as in image recipes.",
    ),
    Modifier("auth", ("request",), Data("credentials"), "Registry credentials, sent as X-Registry-Auth."),
    Modifier("upgrade", ("request",), Choice(("tcp", "websocket")), "Ask for a connection of both ways."),
    Modifier("stdin", ("request", "docker"), BYTES, "What is written to the program's standard input."),
    Modifier(
        "half_close",
        ("request",),
        Flag(),
        "Whether the sending side is closed after `stdin` (true unless said).",
    ),
    Modifier("tty", ("request",), Flag(), "The answer is a terminal's stream, without frames."),
    Modifier(
        "tty",
        ("docker",),
        TERMINAL,
        "Run the client on a terminal of this size.",
    ),
    Modifier(
        "env",
        ("docker",),
        MapOf(Data("a value"), "a mapping of environment variables"),
        "Environment variables, added to the client's.",
    ),
)
