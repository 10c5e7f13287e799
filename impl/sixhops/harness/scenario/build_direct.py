"""From checked fields to steps that speak on one hop directly; `build` does what all steps share.

A request is held against the .proto files here, when the file is read: what the message lacks is reported at its
place in the file.
"""

from __future__ import annotations

import shlex
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.scenario.direct import BundleStep, GrpcStep, RuncStep, TtrpcStep
from sixhops.harness.scenario.model import Save, Template, TtySize
from sixhops.harness.scenario.variables import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from sixhops.harness.errors import Mark
    from sixhops.harness.scenario.build import Builder
    from sixhops.harness.scenario.model import Step, Value
    from sixhops.harness.scenario.reader import StepFields
    from sixhops.wire.proto.services import Method

__all__ = ["DIRECT", "command_words"]

_TASK_SERVICE: Final = "containerd.task.v2.Task"
#: Services that are spoken over ttrpc only.
_TTRPC: Final = (
    "containerd.task.",
    "containerd.services.events.ttrpc.",
    "containerd.services.streaming.ttrpc.",
)


def command_words(builder: Builder, action: Any, mark: Mark) -> tuple[Value, ...] | None:
    """Return the words of a command line, which is a text or a list; None after an error."""
    if isinstance(action, list):
        return tuple(action)
    text, mark = (action.text, action.mark) if isinstance(action, Template) else (action, mark)
    try:
        return tuple(Template(word, mark) if "${" in word else word for word in shlex.split(text))
    except ValueError as error:
        builder.error(f"the command line can't be split into words: {str(error).lower()}", mark)
        return None


def _grpc(builder: Builder, fields: StepFields, common: dict[str, Any]) -> Step | None:
    name, mark = fields["grpc"], fields.marks["grpc"]
    found: Method | None = None
    if name.startswith("/"):
        path = name
        for key in ("json", "messages"):
            if key in fields:
                builder.error(
                    f"{key} needs a method that is known, without a slash in front; use body",
                    fields.marks[key],
                )
    else:
        found = _grpc_method(builder, name, mark)
        path = found.path if found is not None else ""
    messages = list(fields.get("messages", [fields["json"]] if "json" in fields else []))
    if found is not None:
        if "messages" in fields and not found.client_streaming:
            builder.error(f"{name} takes one request: write json", fields.marks["messages"])
        if not messages and "body" not in fields and not found.client_streaming:
            messages = [{}]
        _check_messages(
            builder, messages, found.request, fields.marks.get("messages", fields.marks.get("json", mark))
        )
        if not found.client_streaming and not fields.get("half_close", True):
            builder.error(
                "half_close is for methods to which requests are streamed", fields.marks["half_close"]
            )
        if not found.server_streaming:
            _refuse_facet(builder, fields, "responses", f"{name} gives one answer: write response")
        else:
            _refuse_facet(builder, fields, "response", f"{name} gives a stream of answers: write responses")
    return GrpcStep(
        **common,
        path=path,
        namespace=fields.get("namespace") if "namespace" in fields else "sixhops",
        metadata=dict(fields.get("metadata", {})),
        messages=tuple(messages),
        body=builder.body(fields["body"]) if "body" in fields else None,
        deadline=builder.time(fields, "deadline"),
        half_close=fields.get("half_close", True),
    )


def _grpc_method(builder: Builder, name: str, mark: Mark) -> Method | None:
    spoken, shorts = _of_containerd()
    if f"/{name}" in spoken:
        return spoken[f"/{name}"]
    fitting = shorts.get(name, [])
    if len(fitting) == 1:
        return spoken[fitting[0]]
    if fitting:
        builder.error(
            f"{name} is a method of several services: {', '.join(path[1:] for path in fitting)}", mark
        )
    else:
        known = [*shorts, *(path[1:] for path in spoken)]
        builder.error(f"containerd has no method {name}{nearest(name, known)}", mark)
    return None


@cache
def _of_containerd() -> tuple[dict[str, Method], dict[str, list[str]]]:
    """Return containerd's methods by path, and the paths that a short name (`Tasks/Get`) may stand for."""
    from sixhops.wire.catalog import methods  # noqa: PLC0415 - protobuf is loaded for files that need it

    spoken = {path: one for path, one in methods().items() if not path[1:].startswith(_TTRPC)}
    shorts: dict[str, list[str]] = {}
    for path in spoken:
        service, _, method = path[1:].rpartition("/")
        shorts.setdefault(f"{service.rpartition('.')[2]}/{method}", []).append(path)
    return spoken, shorts


def _ttrpc(builder: Builder, fields: StepFields, common: dict[str, Any]) -> Step | None:
    from sixhops.wire.catalog import methods  # noqa: PLC0415 - as above

    name, mark = fields["ttrpc"], fields.marks["ttrpc"]
    service, slash, method = name.rpartition("/")
    found = methods().get(f"/{service if slash else _TASK_SERVICE}/{method}")
    if found is None and not ("body" in fields and slash):
        full = [path[1:] for path in methods() if path[1:].startswith(_TTRPC)]
        shorts = [path.rpartition("/")[2] for path in full if path.startswith(f"{_TASK_SERVICE}/")]
        what = f"a shim has no method {name}" if slash else f"the Task service has no method {name}"
        hint = nearest(name, full if slash else shorts)
        builder.error(f"{what}{hint or '; an unknown one needs its service and a body'}", mark)
    message = fields.get("json", {})
    if found is not None and "body" not in fields:
        _check_messages(builder, [message], found.request, fields.marks.get("json", mark))
    return TtrpcStep(
        **common,
        service=service if slash else None,
        method=method,
        shim=fields.get("shim"),
        address=fields.get("address"),
        namespace=fields.get("namespace") if "namespace" in fields else "sixhops",
        metadata=dict(fields.get("metadata", {})),
        message=message,
        body=builder.body(fields["body"]) if "body" in fields else None,
        deadline=builder.time(fields, "deadline"),
    )


def _check_messages(builder: Builder, messages: list[Any], kind: type[Message], mark: Mark) -> None:
    from sixhops.harness.messages import problems  # noqa: PLC0415 - as above

    def to_bytes(value: Any, place: Mark) -> bytes:
        builder.check_body(value, place)
        return b""

    for message in messages:
        builder.errors.extend(problems(message, kind, getattr(message, "mark", mark), to_bytes))


def _refuse_facet(builder: Builder, fields: StepFields, facet: str, problem: str) -> None:
    expect = fields.get("expect")
    if expect is not None and facet in expect:
        builder.error(problem, expect.marks[facet])


def _bundle(builder: Builder, fields: StepFields, common: dict[str, Any]) -> Step | None:
    name = fields["bundle"]
    image = fields.get("image")
    if image is not None:
        builder.check_recipe(image, fields.marks["image"])
    common["save"] = (Save(name, "$path", None, fields.marks["bundle"]), *common["save"])
    return BundleStep(
        **common,
        variable=name,
        image=image,
        config=fields.get("config"),
        raw=builder.body(fields["raw"]) if "raw" in fields else None,
        files=tuple(fields.get("files", [])),
    )


def _runc(builder: Builder, fields: StepFields, common: dict[str, Any]) -> Step | None:
    words = command_words(builder, fields["runc"], fields.marks["runc"])
    if words is None:
        return None
    size = fields.get("tty")
    if size is not None and not ("rows" in size and "columns" in size):
        return None
    if "console" in fields and "eventually" in fields.marks:
        builder.error("a step with a console runs once", fields.marks["eventually"])
    return RuncStep(
        **common,
        argv=words,
        stdin=builder.body(fields["stdin"]) if "stdin" in fields else None,
        env=dict(fields.get("env", {})),
        tty=TtySize(size["rows"], size["columns"]) if size else None,
        console=fields.get("console"),
        cwd=fields.get("cwd", "/"),
        descriptors=tuple(item if item == "output" else builder.body(item) for item in fields.get("fds", [])),
    )


#: What builds a step, by its action.
DIRECT: Final[dict[str, Callable[[Builder, StepFields, dict[str, Any]], Step | None]]] = {
    "grpc": _grpc,
    "ttrpc": _ttrpc,
    "bundle": _bundle,
    "runc": _runc,
}
