"""Steps that speak on one hop directly, past everything above it: containerd's services, a shim, a runtime."""

from __future__ import annotations

from typing import Final

from sixhops.harness.scenario.kinds import Choice, Data, Either, Flag, Key, ListOf, MapOf, Nothing, Text
from sixhops.harness.scenario.terms import BODY, BYTES, COMMAND, ERROR, NAME, SHELL, TERMINAL, TIME, Modifier

__all__ = ["ACTIONS", "FACETS", "MODIFIERS"]

_STATUS: Final = {
    "status": "gRPC's name of the status: OK, NOT_FOUND and so on.",
    "code": "The same as a number.",
    "message": "The status's message; empty when it is OK.",
}
#: What a step of each kind lets one look at; hops come on top. `console` is no step: the terminal of a `runc` step.
FACETS: Final[dict[str, dict[str, str]]] = {
    "grpc": {
        **_STATUS,
        "details": "The status's details, a list of messages with `@type`; only when there are any.",
        "response": "The answer, by the fields' names in the .proto file, as the tap shows messages; "
        "only when the call has one answer.",
        "responses": "All answers, for methods that stream them.",
        "metadata": "The metadata that came before the answer.",
        "trailers": "The metadata that came after it.",
        **ERROR,
    },
    "ttrpc": {**_STATUS, "response": "The answer, by the fields' names in the .proto file.", **ERROR},
    "bundle": {"path": "The bundle's directory.", "config": "Its config.json, as JSON; not with `raw`."},
    "runc": {
        **SHELL,
        "json": "The standard output, as JSON.",
        "lines": "The standard output as a list of JSON values, one a line.",
        "log": "What the call wrote to its log (--log), a list of mappings; not when the step names a log itself.",
        "descriptors": "What was written to the descriptors in `fds`, a list; null for those that are read.",
        **ERROR,
    },
    "console": {"output": "All that the terminal has shown.", **ERROR},
}

ACTIONS: Final[dict[str, Key]] = {
    "grpc": Key(
        Text("a method such as Tasks/Get", r"/?[A-Za-z0-9_.]+/[A-Za-z0-9_]+"),
        "A call to containerd: Service/Method where that is unique, or the service's full name. "
        "With a slash in front it is sent as it is, known or not.",
    ),
    "ttrpc": Key(
        Text("a method such as State", r"([A-Za-z0-9_.]+/)?[A-Za-z0-9_]+"),
        "A call to a shim's socket: a method of the Task service in its version, or Service/Method with the full name.",
    ),
    "bundle": Key(
        Text("a name", NAME),
        "Make an OCI bundle on the stack's machine: a directory with config.json, as `runc spec` writes it without "
        "a terminal, and rootfs. The name is a variable afterwards, and its value the directory's path.",
    ),
    "runc": Key(
        COMMAND,
        "A command line of the stack's runtime program, without the leading `runc`. Containers are kept in a --root of "
        "the scenario's own unless the line names one.",
    ),
}

_CALLS: Final = ("grpc", "ttrpc")
_ENTRY: Final = Data("an entry", mapping=True, templates=True)
_MESSAGE: Final = Data("a message", mapping=True, places=True, templates=True)

MODIFIERS: Final = (
    Modifier(
        "shim",
        ("ttrpc",),
        Text("a container's id", r"(?s).+", templates=True),
        "The shim of this container, found through containerd's state directory.",
    ),
    Modifier(
        "address",
        ("ttrpc",),
        Text("a socket's address", r"(?s).+", templates=True),
        "The socket: unix:///PATH on the stack's machine, or an abstract one as \\0NAME or @NAME.",
    ),
    Modifier(
        "namespace",
        _CALLS,
        Either((Nothing(), Text("a namespace", templates=True))),
        "containerd's namespace (`sixhops` unless said): the header containerd-namespace, null for none, and for "
        "`ttrpc` where the container is.",
    ),
    Modifier("metadata", _CALLS, MapOf(Data("a value"), "a mapping of metadata"), "Metadata of the call."),
    Modifier(
        "json",
        _CALLS,
        _MESSAGE,
        "The request, by the fields' names in the .proto file. Bytes: text (as UTF-8) or a body. Any: `@type` beside "
        "the fields, or `value` with JSON for the types that containerd keeps as such; `raw` in it is a body. "
        "Timestamp: RFC 3339 text. Duration: seconds.",
    ),
    Modifier(
        "messages",
        ("grpc",),
        ListOf(_MESSAGE, "a list of messages"),
        "The requests, for methods to which they are streamed.",
    ),
    Modifier("body", _CALLS, BYTES, "The bytes of the request instead, whatever they mean."),
    Modifier(
        "deadline",
        _CALLS,
        TIME,
        "The call's own time limit, which the other side is told; past it the status is DEADLINE_EXCEEDED.",
    ),
    Modifier(
        "half_close",
        ("grpc",),
        Flag(),
        "Whether the requests end after `messages` (true unless said); `close_stdin` ends them later.",
    ),
    Modifier(
        "image",
        ("bundle",),
        Text("a recipe name", r"[a-z0-9][a-z0-9._-]*"),
        "The recipe of the image that rootfs is a copy of; without it rootfs is an empty directory.",
    ),
    Modifier(
        "config",
        ("bundle",),
        Data("a mapping that is merged over the configuration", mapping=True, templates=True),
        "Merged over the default: mappings key by key, lists and other values replace, null takes away.",
    ),
    Modifier("raw", ("bundle",), BYTES, "The text of config.json instead, well-formed or not."),
    Modifier(
        "files",
        ("bundle",),
        ListOf(_ENTRY, "a list of entries"),
        "What is put into rootfs besides: entries as in image recipes.",
    ),
    Modifier("stdin", ("runc",), BYTES, "What is written to the program's standard input."),
    Modifier(
        "tty", ("runc",), TERMINAL, "Run the program on a terminal of this size; then there is only `output`."
    ),
    Modifier(
        "console",
        ("runc",),
        Text("a name", NAME),
        "Give a --console-socket, and keep the terminal that comes over it under this name, as a background step: "
        "`await`, `send`, `join` and `disconnect` act on the terminal, whose facet is `output`.",
    ),
    Modifier(
        "env",
        ("runc",),
        MapOf(Data("a value"), "a mapping of environment variables"),
        "Environment variables; null takes one away.",
    ),
    Modifier(
        "cwd",
        ("runc",),
        Text("a directory", r"(?s)(/|\$\{).*", templates=True),
        "The directory on the stack's machine that the program is started in (/ unless said).",
    ),
    Modifier(
        "fds",
        ("runc",),
        ListOf(Either((BODY, Choice(("output",)), Text("text", templates=True))), "a list of contents"),
        "What the program gets as descriptors 3, 4 and so on: each a pipe with this content, or `output` for one that "
        "it may write to (`descriptors` shows what).",
    ),
)
