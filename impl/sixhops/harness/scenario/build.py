"""Checked data to the model: short forms are written out, defaults filled in, times become seconds.

Everything here trusts the reader about keys and types. What is left to find wrong (a bad regular expression,
a command line that can't be split, a file outside the scenarios) is noted through `Builder.error`, with its
place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from sixhops.harness.errors import Mark, ScenarioError
from sixhops.harness.match.arguments import pattern_problem
from sixhops.harness.scenario.build_direct import DIRECT, command_words
from sixhops.harness.scenario.model import (
    ApiRange,
    AwaitStep,
    CloseStdinStep,
    DisconnectStep,
    DockerStep,
    Eventually,
    Expectation,
    FaultAction,
    FaultRule,
    FaultStep,
    FileStep,
    Hop,
    ImageUse,
    JoinStep,
    ProcessesStep,
    RegistryStep,
    RequestStep,
    Requires,
    Save,
    SendStep,
    Step,
    Template,
    TtySize,
    Value,
)
from sixhops.harness.scenario.paths import parse_source
from sixhops.harness.scenario.reader import Fields, StepFields
from sixhops.harness.scenario.terms import BODY
from sixhops.harness.scenario.variables import Scope, nearest, resolve

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_API", "Builder", "parse_time_span"]

DEFAULT_API: Final = "1.40"
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_LINE: Final = re.compile(r"[A-Z]+ +(/|\$\{)(?s:.*)")
_SPAN: Final = re.compile(r"([0-9.]+)(ms|s|m)")


def parse_time_span(text: str) -> float:
    """Return seconds of `250ms`, `10s`, `2m`. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time: write 250ms, 10s or 2m")
    return float(found[1]) * _UNITS[found[2]]


@dataclass
class Builder:
    """Makes the model's values for one file. `path` is the file, `root` the scenarios folder that no path may
    leave; `recipes` are the images that there are, None for any. `beside` grows: other files that were looked for.
    """

    path: Path
    root: Path
    errors: list[ScenarioError]
    api: str | None = DEFAULT_API
    row: dict[str, Any] = field(default_factory=dict)
    recipes: tuple[str, ...] | None = None
    beside: list[str] = field(default_factory=list)

    def error(self, message: str, mark: Mark) -> None:
        """Note an error."""
        self.errors.append(ScenarioError(message, mark))

    def step(self, fields: StepFields, index: int, *, cleanup: bool) -> Step | None:
        """Return the model of a step, or None when a part that it can't do without was wrong."""
        kind = fields.kind
        if kind is None or kind not in fields or (kind == "await" and "expect" not in fields):
            return None
        action = fields[kind]
        common: dict[str, Any] = {
            "index": index,
            "name": fields.get("name") or _default_name(kind, action),
            "mark": fields.mark,
            "timeout": parse_time_span(fields.get("timeout", "30s")),
            "background": fields.get("background"),
            "expect": _expectations(fields.get("expect")),
            "save": self._saves(fields.get("save")),
            "eventually": _eventually(fields.get("eventually")),
            "is_cleanup": cleanup,
        }
        if kind == "request":
            return RequestStep(**common, **self._talk(fields, action), **self._request(fields))
        if kind == "registry":
            return RegistryStep(**common, **self._talk(fields, action))
        if kind == "docker":
            return self._docker(fields, action, common)
        if kind == "processes":
            return ProcessesStep(**common, select={} if action == "all" else action)
        if kind == "file":
            return FileStep(**common, path=action)
        if kind == "send":
            if "to" not in action:
                return None
            return SendStep(**common, target=action["to"], data=self._data(action))
        if kind == "fault":
            return self._fault_step(action, common)
        if kind in DIRECT:
            return DIRECT[kind](self, fields, common)
        made: Step = _ON_BACKGROUND[kind](**common, target=action)
        return made

    def image_uses(self, entries: list[Any], marks: list[Mark]) -> dict[str, ImageUse]:
        """Return the images by recipe name; a recipe named twice is an error."""
        uses: dict[str, ImageUse] = {}
        for entry, mark in zip(entries, marks, strict=True):
            if isinstance(entry, str):
                use = ImageUse(entry, present=False, served=True, mark=mark)
            else:
                name, how = next(iter(entry.items()))
                if isinstance(how, str):
                    use = ImageUse(name, present=how == "present", served=how != "absent", mark=mark)
                else:
                    use = ImageUse(
                        name, present=how.get("present", False), served=how.get("served", True), mark=mark
                    )
            self.check_recipe(use.recipe, mark)
            if use.recipe in uses:
                self.error(f"the image {use.recipe} is there twice", mark)
            uses[use.recipe] = use
        return uses

    def requires(self, fields: Fields | None) -> Requires:
        """Return what the target must have."""
        if fields is None:
            return Requires()
        hops = [*fields.get("hop", []), *fields.get("hops", [])]
        programs = [*fields.get("program", []), *fields.get("programs", [])]
        cgroup = fields.get("cgroup")
        if cgroup not in (None, 1, 2):
            self.error(f"cgroup must be 1 or 2, not {cgroup}", fields.marks["cgroup"])
        return Requires(
            api=self._api_range(fields),
            root=fields.get("root", False),
            experimental=fields.get("experimental", False),
            cgroup=cgroup,
            hops=frozenset(Hop(hop) for hop in hops),
            programs=frozenset(programs),
        )

    def fault(self, fields: Fields) -> FaultRule | None:
        """Return one registry fault."""
        if "match" not in fields:
            return None
        for key in ("headers", "body"):
            if key in fields and "status" not in fields:
                self.error(f"{key} needs a status: it is part of the answer given instead", fields.marks[key])
        body = self.body(fields["body"]) if "body" in fields else None
        method, path = _request_line(fields["match"])
        status = self._of_row(fields["status"]) if "status" in fields else None
        if status is not None and (isinstance(status, bool) or not isinstance(status, int)):
            self.error(f"status must be a status code, not {status!r}", fields.marks["status"])
        return FaultRule(
            method=method,
            path=path,
            mark=fields.mark,
            times=fields.get("times"),
            after=fields.get("after", 0),
            status=status,
            headers=dict(fields.get("headers", {})),
            body=body,
            cut=fields.get("cut"),
            corrupt=fields.get("corrupt"),
            delay=parse_time_span(fields["delay"]) if "delay" in fields else None,
            length=fields.get("length"),
            digest=fields.get("digest"),
            instead=fields.get("instead"),
        )

    def _api_range(self, fields: Fields) -> ApiRange:
        text = fields.get("api")
        if text is None:
            return ApiRange()
        if text.startswith(">="):
            return ApiRange(low=_version(text[2:]))
        if text.startswith("<="):
            return ApiRange(high=_version(text[2:]))
        low, _, high = text.partition("-")
        bounds = ApiRange(_version(low), _version(high or low))
        if bounds.low is not None and bounds.high is not None and bounds.low > bounds.high:
            self.error(f"no version is from {low} to {high}", fields.marks["api"])
        return bounds

    def _of_row(self, value: Any) -> Any:
        """Return a value that must be known when the file is read, so that it may only speak of the row."""
        if not isinstance(value, Template):
            return value
        try:
            return resolve(value, Scope({"row": self.row}))
        except ScenarioError as error:
            self.errors.append(error)
            return None

    def _talk(self, fields: StepFields, action: str | Template) -> dict[str, Any]:
        if isinstance(action, Template) and action.text.startswith("${"):
            mark = action.mark
            line = self._of_row(action)
            if isinstance(line, Template):  # of ${letters[N]} and the like, which are resolved with the step
                line = line.text
            if not isinstance(line, str) or not _LINE.fullmatch(line):
                self.error(f"request must be METHOD /path, and in this row it is {line!r}", mark)
                line = "GET /"
            action = Template(line, mark) if "${" in line else line
        method, path = _request_line(action)
        return {
            "method": method,
            "path": path,
            "query": dict(fields.get("query", {})),
            "headers": dict(fields.get("headers", {})),
            "json": fields.get("json"),
            "has_json": "json" in fields,
            "body": self.body(fields["body"]) if "body" in fields else None,
        }

    def _request(self, fields: StepFields) -> dict[str, Any]:
        api = fields.get("api", self.api)
        if (
            "half_close" in fields
            and "stdin" not in fields
            and not fields["half_close"]
            and "upgrade" not in fields
        ):
            self.error("half_close says something only beside upgrade or stdin", fields.marks["half_close"])
        return {
            "api": None if api == "none" else api,
            "tar": fields.get("tar"),
            "auth": fields.get("auth"),
            "upgrade": fields.get("upgrade"),
            "stdin": self.body(fields["stdin"]) if "stdin" in fields else None,
            "half_close": fields.get("half_close", True),
            "tty": fields.get("tty", False),
        }

    def _docker(self, fields: StepFields, action: Any, common: dict[str, Any]) -> DockerStep | None:
        words = command_words(self, action, fields.marks["docker"])
        if words is None:
            return None
        size = fields.get("tty")
        if size is not None and not ("rows" in size and "columns" in size):
            return None
        return DockerStep(
            **common,
            argv=words,
            stdin=self.body(fields["stdin"]) if "stdin" in fields else None,
            env=dict(fields.get("env", {})),
            tty=TtySize(size["rows"], size["columns"]) if size else None,
        )

    def _fault_step(self, action: Fields, common: dict[str, Any]) -> FaultStep | None:
        verb = next((verb for verb in get_args(FaultAction) if verb in action), None)
        if verb is None:
            return None
        victim, of_container = action[verb], action[verb] in ("shim", "container")
        if of_container and "of" not in action.marks:
            self.error(f"a {victim} needs `of`, the id of its container", action.marks[verb])
        if not of_container and "of" in action.marks:
            self.error(f"{victim} is not of a container", action.marks["of"])
        if verb != "kill" and "signal" in action.marks:
            self.error("signal is for kill", action.marks["signal"])
        return FaultStep(
            **common, action=verb, victim=victim, of=action.get("of"), signal=action.get("signal", "KILL")
        )

    def body(self, value: Any) -> Value:
        """Return what a `body` or the like holds; a file that it names is looked for."""
        if not isinstance(value, Fields):
            return value  # type: ignore[no-any-return]  # text or a template, says the grammar
        body: dict[str, Value] = dict(value)
        if "file" in value:
            body["file"] = self._inside(value["file"], value.marks["file"])
        return body

    def check_body(self, value: Any, mark: Mark) -> None:
        """Note what is wrong with a body that the grammar has not seen: bytes inside a message."""
        if not isinstance(value, dict):
            return
        sources = [key for key in BODY.one_of if key in value]
        odd = [key for key in value if key not in BODY.keys or key == "chunked"]
        if odd or len(sources) != 1:
            what = f"has no key {odd[0]}{nearest(odd[0], list(BODY.keys))}" if odd else "needs one of them"
            self.error(f"bytes are text or a mapping with {', '.join(BODY.one_of)}; this {what}", mark)
        elif not isinstance(value[sources[0]], str):
            self.error(f"{sources[0]} must be text, not {value[sources[0]]!r}", mark)
        elif sources == ["file"]:
            self._inside(value["file"], mark)

    def check_recipe(self, name: str, mark: Mark) -> None:
        """Note an image recipe that does not exist."""
        if self.recipes is not None and name not in self.recipes:
            self.error(f"there is no recipe images/{name}.yaml{nearest(name, list(self.recipes))}", mark)

    def time(self, fields: Fields, key: str) -> float | None:
        """Return the seconds of a time, None when it isn't there."""
        return parse_time_span(fields[key]) if key in fields else None

    def _data(self, action: Fields) -> Value:
        body = Fields(action.mark)
        body.update((key, value) for key, value in action.items() if key != "to")
        body.marks = action.marks
        return body["text"] if body.keys() == {"text"} else self.body(body)

    def _inside(self, name: str, mark: Mark) -> str:
        self.beside.append(name)
        root = self.root.resolve()
        place = (self.path.parent / name).resolve()
        if not place.is_relative_to(root):
            self.error(f"the path {name} leads out of the scenarios folder", mark)
        elif not place.is_file():
            self.error(f"there is no file {name} beside the scenario", mark)
        return name

    def _saves(self, fields: Fields | None) -> tuple[Save, ...]:
        saves = []
        for name, source in (fields or {}).items():
            assert fields is not None
            mark = fields.marks[name]
            pattern = None
            if isinstance(source, Fields):
                if "from" not in source or "re" not in source:
                    continue
                pattern, where = source["re"], source["from"]
                if (problem := pattern_problem(pattern)) is not None:
                    self.error(problem, source.marks["re"])
            else:
                where = source
            try:
                parse_source(where)
            except ValueError as error:
                self.error(str(error), mark)
            saves.append(Save(name, where, pattern, mark))
        return tuple(saves)


_ON_BACKGROUND: Final[dict[str, Any]] = {
    "join": JoinStep,
    "await": AwaitStep,
    "close_stdin": CloseStdinStep,
    "disconnect": DisconnectStep,
}


def _expectations(fields: Fields | None) -> tuple[Expectation, ...]:
    if not fields:
        return ()
    return tuple(Expectation(facet, value, fields.marks[facet]) for facet, value in fields.items())


def _eventually(value: Any) -> Eventually | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Eventually(parse_time_span(value))
    return Eventually(parse_time_span(value.get("timeout", "0s")), _expectations(value.get("fail_if")))


def _request_line(value: str | Template) -> tuple[str, str | Template]:
    text = value if isinstance(value, str) else value.text
    method, _, path = text.partition(" ")
    path = path.lstrip(" ")
    return method, Template(path, value.mark) if isinstance(value, Template) and "${" in path else path


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _default_name(kind: str, action: Any) -> str:
    """Return what an unnamed step is called: what it does, as it is written."""
    if isinstance(action, Template):
        action = action.text
    if kind in ("request", "registry"):
        return str(action)
    if kind in ("docker", "runc"):
        words = action if isinstance(action, list) else [action]
        return " ".join([kind, *(word.text if isinstance(word, Template) else str(word) for word in words)])
    if kind == "processes":
        return "processes"
    if kind == "fault":
        verb, victim = next(iter(action.items()), ("", ""))
        return f"{verb} {victim}"
    return f"{kind} {action.get('to', '') if isinstance(action, dict) else action}"
