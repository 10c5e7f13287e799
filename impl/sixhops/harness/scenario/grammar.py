"""The scenario language as data: its keys, what each takes, and what it means.

The loader checks files against `SCENARIO` and the records below it, its hints come from the same key names,
and the JSON Schema, the reference and `sixhops explain` are made from the same texts. A new key is one row
in the group of steps that it belongs to (`actions`, `direct_actions`) or here, and one line in `build` that puts its
value into the model. This module knows nothing of YAML, files or the model's classes.
"""

from __future__ import annotations

from typing import Final

from sixhops.harness.scenario import actions, direct_actions
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
from sixhops.harness.scenario.terms import API, BODY, BYTES, HEADERS, HOPS, NAME, SAVE, TIME, Modifier

__all__ = ["ACTIONS", "BODY", "FACETS", "HOPS", "SCENARIO", "STEP_KINDS", "background_what", "step_record"]

_PROGRAMS: Final = ("docker", "dockerd", "registry", "containerd", "shim", "runc", "criu")

ACTIONS: Final[dict[str, Key]] = {**actions.ACTIONS, **direct_actions.ACTIONS}
STEP_KINDS: Final = tuple(ACTIONS)

_OWN_FACETS: Final = {**actions.FACETS, **direct_actions.FACETS}
#: Steps that can go on in the background, and so the facets that `join` and `await` may find.
_DO: Final = ("request", "registry", "docker", "grpc", "ttrpc", "runc")
_OF_BACKGROUND: Final = {
    name: doc for kind in (*_DO, "console") for name, doc in reversed(_OWN_FACETS[kind].items())
}
#: What a step of each kind lets one look at; hops come on top. `console` is a terminal that a `runc` step opened.
FACETS: Final[dict[str, dict[str, str]]] = {**_OWN_FACETS, "join": _OF_BACKGROUND, "await": _OF_BACKGROUND}
#: Steps that can be repeated, and those that see anything.
_LOOK: Final = (*_DO, "processes", "file")
_SEE: Final = (*_LOOK, "bundle", "join", "await")


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


_MODIFIERS: Final = (
    Modifier("name", STEP_KINDS, Text("text"), "What the step is called in reports."),
    Modifier("timeout", STEP_KINDS, TIME, "The step fails by itself after this time (30s unless said)."),
    *actions.MODIFIERS,
    *direct_actions.MODIFIERS,
    Modifier(
        "background",
        _DO,
        Text("a name", NAME),
        "Go on while this runs; the name is for `join`, `await`, `send` and the like.",
    ),
    Modifier("save", _SEE, SAVE, "Variables for later steps, from what this one saw."),
)
#: Keys that say the same thing in different ways, by step kind.
_AT_MOST_ONE: Final = {
    "request": ("json", "body", "tar"),
    "registry": ("json", "body", "tar"),
    "grpc": ("json", "messages", "body"),
    "ttrpc": ("json", "body"),
    "bundle": ("config", "raw"),
}
_ONE_OF: Final = {"ttrpc": ("shim", "address")}


def _step_keys(kind: str) -> dict[str, Key]:
    keys = {kind: Key(ACTIONS[kind].kind, ACTIONS[kind].doc, required=True)}
    keys.update({row.name: Key(row.kind, row.doc) for row in _MODIFIERS if kind in row.steps})
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
        one_of=_ONE_OF.get(kind, ()),
        at_most_one=_AT_MOST_ONE.get(kind, ()),
    )
    for kind in STEP_KINDS
}


def step_record(kind: str) -> Record:
    """Return the record of a step of `kind` (a key of `ACTIONS`)."""
    return _STEPS[kind]


def background_what(kind: str) -> str:
    """Return what a background step of `kind` is called, with an article; `console` is a terminal."""
    return "a console" if kind == "console" else step_record(kind).what


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
        "headers": Key(HEADERS, "Headers of that answer."),
        "body": Key(BYTES, "Body of that answer."),
        "cut": Key(Whole("a count of bytes"), "Close the connection after so many bytes of the body."),
        "corrupt": Key(Whole("an offset"), "Flip the byte of the body at this offset."),
        "delay": Key(TIME, "Wait so long before the answer."),
        "length": Key(Whole("a count of bytes"), "Declare this Content-Length, whatever the body."),
        "digest": Key(
            Text("a digest", r"\S+", templates=True),
            "Declare this Docker-Content-Digest, whatever the content.",
        ),
        "instead": Key(
            Text("/path", r"/\S*", templates=True),
            "Answer what the registry has at this path: an old manifest, for one.",
        ),
    },
    one_of=("status", "cut", "corrupt", "delay", "length", "digest", "instead"),
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
        "experimental": Key(
            Flag(), "The engine has experimental features; a stack that sixhops starts gets one that has."
        ),
        "cgroup": Key(Whole("1 or 2", 1), "The version of cgroups on the engine's host."),
        "hop": Key(_HOP_LIST, "Hops that must be observable."),
        "hops": Key(_HOP_LIST, "The same as `hop`."),
        "program": Key(
            _PROGRAM_LIST, "Programs that must be there; `criu` must work on the target's kernel as well."
        ),
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
        "api": Key(API, "The version before the path of every request (1.40 unless said)."),
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
            MapOf(Data(), "a mapping of variables", NAME, "a variable name"),
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
