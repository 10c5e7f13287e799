"""The scenario language as data: its keys, what each takes, and what it means.

The loader checks files against `SCENARIO` and the records below it, its hints come from the same key names,
and the JSON Schema, the reference and `sixhops explain` are made from the same texts. A new key is one row
here, and one line in `build` that puts its value into the model. This module knows nothing of YAML, files or
the model's classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = [
    "ACTIONS",
    "BODY",
    "FACETS",
    "HOPS",
    "SCENARIO",
    "STEP_KINDS",
    "Choice",
    "Data",
    "Either",
    "Flag",
    "Key",
    "Kind",
    "ListOf",
    "MapOf",
    "Nothing",
    "Record",
    "Text",
    "Whole",
    "step_record",
]

HOPS: Final = ("engine", "registry", "containerd", "shim", "runtime", "process")
_PROGRAMS: Final = ("docker", "dockerd", "registry", "containerd", "shim", "runc")
_DAEMONS: Final = ("dockerd", "containerd", "registry")
_VICTIMS: Final = (*_DAEMONS, "shim", "container")
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]*"
_TIME: Final = r"\d+(\.\d+)?(ms|s|m)"


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `pattern` must match all of it; `what` says in words what it must be; `templates`: `${...}`
    may stand in it.
    """

    what: str = "text"
    pattern: str | None = None
    templates: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    what: str = "true or false"


@dataclass(frozen=True, slots=True)
class Nothing:
    """null."""

    what: str = "null"


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer of at least `least`; `templates`: or one variable of the `for` table alone."""

    what: str = "a whole number"
    least: int = 0
    templates: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def what(self) -> str:
        """Return the words, for messages."""
        return f"one of {', '.join(self.words)}" if len(self.words) > 1 else self.words[0]


@dataclass(frozen=True, slots=True)
class Data:
    """Any value, with templates; with matchers where an expectation is meant. `mapping`: a mapping at its
    top.
    """

    what: str = "any value"
    matchers: bool = False
    mapping: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. `least`: the least number of elements; `single`: one element may stand without the list."""

    item: Kind
    what: str = "a list"
    least: int = 0
    single: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with keys of the author's. `key` is a pattern, `key_what` says it in words; `one`: exactly
    one key.
    """

    item: Kind
    what: str = "a mapping"
    key: str = r"(?s).*"
    key_what: str = "text"
    one: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """The first of `kinds` that the shape of the value fits."""

    kinds: tuple[Kind, ...]

    @property
    def what(self) -> str:
        """Return what may stand here, for messages."""
        return " or ".join(kind.what for kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a record: what it takes and what it means."""

    kind: Kind
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys. `one_of`: exactly one of these must be there; `at_most_one`: no two of
    these.
    """

    name: str
    doc: str
    keys: dict[str, Key] = field(hash=False)
    one_of: tuple[str, ...] = ()
    at_most_one: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Return the record's name with an article, for messages."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


Kind: TypeAlias = "Text | Flag | Nothing | Whole | Choice | Data | ListOf | MapOf | Either | Record"

TIME: Final = Text("a time such as 250ms, 10s or 2m", _TIME)
_VARIABLE: Final = Text("a variable name", _NAME)
_HEADERS: Final = MapOf(Data("a header value"), "a mapping of headers")
_API: Final = Either((Choice(("none",)), Text('a version in quotes, such as "1.40"', r"\d+\.\d+")))

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
        "repeat": Key(Whole("a count of at least 1", 1), "So many times over."),
        "chunked": Key(Flag(), "Sent with Transfer-Encoding: chunked."),
    },
    one_of=("text", "base64", "hex", "file"),
)
_BYTES: Final = Either((BODY, Text("text", templates=True)))

_STREAMS: Final = {
    "stdout": "What came on standard output.",
    "stderr": "What came on standard error.",
    "output": "Both in order of arrival; without frames the raw stream, or all that a terminal showed.",
}
_HTTP: Final = {
    "status": "The status code.",
    "reason": "The reason phrase of the status line.",
    "headers": "The headers; names in any case, values of repeated ones joined by a comma.",
    "json": "The body, as JSON.",
    "body": "The body, as text or bytes.",
    "stream": "The body as a list of JSON values, as progress and events are sent.",
    "frames": "The frames of a multiplexed stream: a list of {stream, data}.",
    "eof": "Whether the other side ended the stream.",
    **_STREAMS,
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
_SHELL: Final = {"exit": "The exit status.", **_STREAMS}
_SNAPSHOT: Final = {"processes": "The selected processes, each a mapping."}
_ERROR: Final = {
    "error": "Why the step came to no end (connection cut, time-out); without it, any error fails the step."
}

_REQUEST_LINE: Final = Text(
    "METHOD /path", r"[A-Z]+ +(/|\$\{)(?s:.*)|\$\{row\.[^}]+\}(?s:.*)", templates=True
)

# What a step of each kind lets one look at; hops come on top.
FACETS: Final[dict[str, dict[str, str]]] = {
    "request": {**_HTTP, **_ERROR},
    "registry": {**_HTTP, **_ERROR},
    "docker": {**_SHELL, **_ERROR},
    "processes": _SNAPSHOT,
    "file": _FILE,
    "join": {**_HTTP, **_SHELL, **_ERROR},
    "await": {**_HTTP, **_SHELL, **_ERROR},
}

ACTIONS: Final[dict[str, Key]] = {
    "request": Key(_REQUEST_LINE, "A request to the engine, such as `GET /containers/json`."),
    "registry": Key(_REQUEST_LINE, "A request straight to the registry, past the engine."),
    "docker": Key(
        Either(
            (
                Text("a command line", r"(?s).*\S.*", templates=True),
                ListOf(Data("an argument"), "a list of arguments", 1),
            )
        ),
        "A command line of the docker client under test, without the leading `docker`.",
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
                "of": Key(
                    Text("a container's id", r"(?s).+", templates=True),
                    "Whose shim, or whose first process (`container`).",
                ),
                "signal": Key(Choice(("KILL", "TERM", "INT", "QUIT", "ABRT")), "Which signal."),
            },
            one_of=("kill", "stop", "continue", "restart"),
        ),
        "Do harm to a program of the stack: a daemon by its role, or a container's `shim` or first process. Only "
        "on stacks that sixhops starts. What is dead or halted at the end is brought back.",
    ),
}

STEP_KINDS: Final = tuple(ACTIONS)
_TALK: Final = ("request", "registry")
_DO: Final = (*_TALK, "docker")
_LOOK: Final = (*_DO, "processes", "file")
_SEE: Final = (*_LOOK, "join", "await")


def _expect_record(kind: str) -> Record:
    keys = {name: Key(Data(matchers=True), doc) for name, doc in FACETS[kind].items()}
    for hop in HOPS:
        keys.setdefault(
            hop,
            Key(
                Data(matchers=True),
                f"The messages on the {hop} hop during the step: these, in this order, among others.",
            ),
        )
    return Record("expectation", "What must hold of what the step saw.", keys)


def _eventually(kind: str) -> Kind:
    record = Record(
        "repetition",
        "How long the step is repeated, and what makes waiting futile.",
        {
            "timeout": Key(TIME, "At most so long.", required=True),
            "fail_if": Key(_expect_record(kind), "Once all of this holds, the step has failed."),
        },
    )
    return Either((TIME, record))


_SAVE: Final = MapOf(
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
    _NAME,
    "a variable name",
)

# (modifier, step kinds that have it, what it takes there, meaning)
_MODIFIERS: Final[tuple[tuple[str, tuple[str, ...], Kind, str], ...]] = (
    ("name", STEP_KINDS, Text("text"), "What the step is called in reports."),
    ("timeout", STEP_KINDS, TIME, "The step fails by itself after this time (30s unless said)."),
    ("api", ("request",), _API, "The version to put before the path; `none` for no version."),
    (
        "query",
        _TALK,
        Data("a mapping of query parameters", mapping=True),
        "Query parameters, added to those in the path.",
    ),
    ("headers", _TALK, _HEADERS, "Request headers."),
    ("json", _TALK, Data("any value"), "The body, as JSON."),
    ("body", _TALK, _BYTES, "The body, as text or bytes."),
    (
        "tar",
        ("request",),
        ListOf(Data("an entry", mapping=True), "a list of entries"),
        "The body, as a tar archive of entries as in image recipes.",
    ),
    ("auth", ("request",), Data("credentials"), "Registry credentials, sent as X-Registry-Auth."),
    ("upgrade", ("request",), Choice(("tcp", "websocket")), "Ask for a connection of both ways."),
    ("stdin", ("request", "docker"), _BYTES, "What is written to the program's standard input."),
    (
        "half_close",
        ("request",),
        Flag(),
        "Whether the sending side is closed after `stdin` (true unless said).",
    ),
    ("tty", ("request",), Flag(), "The answer is a terminal's stream, without frames."),
    (
        "tty",
        ("docker",),
        Record(
            "terminal",
            "The size of the terminal that the client runs on.",
            {
                "rows": Key(Whole("a count of at least 1", 1), "Rows.", required=True),
                "columns": Key(Whole("a count of at least 1", 1), "Columns.", required=True),
            },
        ),
        "Run the client on a terminal of this size.",
    ),
    (
        "env",
        ("docker",),
        MapOf(Data("a value"), "a mapping of environment variables"),
        "Environment variables, added to the client's.",
    ),
    (
        "background",
        _DO,
        Text("a name", _NAME),
        "Go on while this runs; the name is for `join`, `await`, `send` and the like.",
    ),
    ("save", _SEE, _SAVE, "Variables for later steps, from what this one saw."),
)


def _step_keys(kind: str) -> dict[str, Key]:
    keys = {kind: Key(ACTIONS[kind].kind, ACTIONS[kind].doc, required=True)}
    keys.update({name: Key(takes, doc) for name, kinds, takes, doc in _MODIFIERS if kind in kinds})
    if kind in _SEE:
        keys["expect"] = Key(
            _expect_record(kind), "What must hold of what the step saw.", required=kind == "await"
        )
    if kind in _LOOK:
        keys["eventually"] = Key(
            _eventually(kind), "Repeat the step until its expectations hold, for at most this time."
        )
    return keys


_STEPS: Final[dict[str, Record]] = {
    kind: Record(
        f"{kind} step",
        ACTIONS[kind].doc,
        _step_keys(kind),
        at_most_one=("json", "body", "tar") if kind in _TALK else (),
    )
    for kind in STEP_KINDS
}


def step_record(kind: str) -> Record:
    """Return the record of a step of `kind` (a key of `ACTIONS`)."""
    return _STEPS[kind]


_IMAGE: Final = Record(
    "image use",
    "Where an image is before the first step.",
    {
        "present": Key(Flag(), "The engine has it (false unless said)."),
        "served": Key(Flag(), "The registry serves it (true unless said)."),
    },
)
_FAULT: Final = Record(
    "registry fault",
    "How the registry must misbehave, and for which requests.",
    {
        "match": Key(
            Text("METHOD /path or * /path", r"([A-Z]+|\*) +(?s:.+)", templates=True),
            "Which requests: `*` is any method, and in the path it stands for anything, slashes too.",
            required=True,
        ),
        "times": Key(Whole("a count of at least 1", 1), "Only the first so many of them."),
        "after": Key(Whole(), "Only after so many of them."),
        "status": Key(Whole("a status code", 100, templates=True), "Answer with this status instead."),
        "headers": Key(_HEADERS, "Headers of that answer."),
        "body": Key(_BYTES, "Body of that answer."),
        "cut": Key(Whole("a count of bytes"), "Close the connection after so many bytes of the body."),
        "corrupt": Key(Whole("an offset"), "Flip the byte of the body at this offset."),
        "delay": Key(TIME, "Wait so long before the answer."),
        "length": Key(Whole("a count of bytes"), "Declare this Content-Length, whatever the body."),
    },
    one_of=("status", "cut", "corrupt", "delay", "length"),
)
_HOP_LIST: Final = ListOf(Choice(HOPS), "a list of hops", single=True)
_PROGRAM_LIST: Final = ListOf(Choice(_PROGRAMS), "a list of programs", single=True)
_REQUIRES: Final = Record(
    "requirement",
    "What the target must have; the scenario is skipped elsewhere.",
    {
        "api": Key(
            Text(
                'a range in quotes: "1.40", ">=1.40", "<=1.40" or "1.25-1.40"',
                r"(>=|<=)?\d+\.\d+|\d+\.\d+-\d+\.\d+",
            ),
            "The engine's API version.",
        ),
        "root": Key(Flag(), "The engine runs as root."),
        "cgroup": Key(Whole("1 or 2", 1), "The version of cgroups on the engine's host."),
        "hop": Key(_HOP_LIST, "Hops that must be observable."),
        "hops": Key(_HOP_LIST, "The same as `hop`."),
        "program": Key(_PROGRAM_LIST, "Programs that must be there."),
        "programs": Key(_PROGRAM_LIST, "The same as `program`."),
    },
)
_STEP_LIST: Final = ListOf(Record("step", "One step.", {}), "a list of steps")

SCENARIO: Final = Record(
    "scenario",
    "One file: what is given, what is done, what must be seen.",
    {
        "title": Key(Text("text", r"(?s).*\S.*"), "What the scenario shows, in one line.", required=True),
        "description": Key(Text("text"), "Why it exists."),
        "refs": Key(
            ListOf(Text("a requirement id", r"\S+"), "a list of requirement ids"),
            "The requirements that it covers.",
        ),
        "tags": Key(ListOf(Text("a tag", r"[a-z][a-z0-9_-]*"), "a list of tags"), "Words to select it by."),
        "api": Key(_API, "The version before the path of every request (1.40 unless said)."),
        "images": Key(
            ListOf(
                Either(
                    (
                        MapOf(
                            Either((_IMAGE, Choice(("present", "served", "absent")))),
                            "a mapping of one recipe",
                            r"[a-z0-9][a-z0-9._-]*",
                            "a recipe name",
                            one=True,
                        ),
                        Text("a recipe name", r"[a-z0-9][a-z0-9._-]*"),
                    )
                ),
                "a list of recipes",
            ),
            "Images that it speaks of. `name` alone is served and not present; "
            "`{name: present}` is on the engine as well; "
            "`{name: absent}` is nowhere.",
        ),
        "requires": Key(
            _REQUIRES, "What the target must have; the scenario is skipped elsewhere, with the reason."
        ),
        "for": Key(
            ListOf(Data("a row", mapping=True), "a list of rows", 1),
            "A table: the scenario is run once for each row, which `${row.KEY}` speaks of. "
            "`id` names a row; otherwise its values do.",
        ),
        "vars": Key(
            MapOf(Data(), "a mapping of variables", _NAME, "a variable name"),
            "Variables; later ones may use earlier ones.",
        ),
        "registry_faults": Key(
            ListOf(_FAULT, "a list of faults"),
            "How the registry misbehaves. The first rule that fits counts.",
        ),
        "steps": Key(ListOf(_STEP_LIST.item, "a list of steps", 1), "What is done, in order.", required=True),
        "cleanup": Key(_STEP_LIST, "Steps that run at the end, whatever happened."),
    },
)
