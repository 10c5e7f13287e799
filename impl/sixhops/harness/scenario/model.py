"""What a scenario is, as data. The loader makes these, the runner performs them, the judge reads them.

Every value that an author wrote (a header, a JSON body, an expectation) is a `Value`: plain JSON data in which a
string may be a `Template` (it holds `${...}`), and, inside expectations only, anything may be a `Matcher`.
Values are kept unresolved; `variables.resolve` turns templates into typed data when the step is reached.
Nothing in this module does I/O or knows how a step is performed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from sixhops.harness.errors import Mark

__all__ = [
    "ApiRange",
    "AwaitStep",
    "CloseStdinStep",
    "DisconnectStep",
    "DockerStep",
    "Eventually",
    "Expectation",
    "FaultAction",
    "FaultRule",
    "FaultStep",
    "FileStep",
    "Hop",
    "ImageUse",
    "JoinStep",
    "Matcher",
    "ProcessesStep",
    "RegistryStep",
    "RequestStep",
    "Requires",
    "Save",
    "Scenario",
    "SendStep",
    "Step",
    "Template",
    "TtySize",
    "Value",
]


class Hop(StrEnum):
    """The six boundaries of the path, in the order in which a run crosses them."""

    ENGINE = "engine"
    REGISTRY = "registry"
    CONTAINERD = "containerd"
    SHIM = "shim"
    RUNTIME = "runtime"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Template:
    """A string with `${path}` in it. A string that is one `${path}` alone keeps the type of what it names."""

    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Matcher:
    """A YAML tag such as `!re` with its argument; what it accepts is defined in `match`.

    `name` is without the exclamation mark. `argument` is a Value and may hold matchers itself.
    """

    name: str
    argument: Value
    mark: Mark


FaultAction: TypeAlias = Literal["kill", "stop", "continue", "restart", "fill", "drain"]
Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | Template | Matcher | None"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one facet of an exchange must be. `facet` is e.g. `status`, `json`, `stdout`, `registry`."""

    facet: str
    value: Value
    mark: Mark


@dataclass(frozen=True, slots=True)
class Save:
    """`name: $.path` in `save`: where in the exchange a variable comes from.

    `source` starts with `$` (the JSON body) or `$facet` (`$stdout`, `$headers.Location`, `$stream[0].id`);
    `pattern` (optional) is a regular expression whose first group, or whole match, is taken of a string.
    """

    name: str
    source: str
    pattern: str | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Eventually:
    """Repeat the step until its expectations hold; `timeout` in seconds.

    `fail_if` are expectations that, once they hold, mean that waiting is futile: the step fails at once.
    """

    timeout: float
    fail_if: tuple[Expectation, ...] = ()


@dataclass(frozen=True, slots=True)
class TtySize:
    """Rows and columns of the pseudo-terminal that a CLI step runs on."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What all steps share. `index` counts from 0 over `steps`, then `cleanup`.

    `background`: the step's name for later `join`, `await`, `send` ...; the step goes on while others run.
    `timeout`: seconds until the step fails by itself.
    """

    index: int
    name: str
    mark: Mark
    timeout: float = 30.0
    background: str | None = None
    expect: tuple[Expectation, ...] = ()
    save: tuple[Save, ...] = ()
    eventually: Eventually | None = None
    is_cleanup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStep(Step):
    """A request to the engine.

    `path` has no version prefix unless the author wrote one; `api` is the version to prefix ("1.40") or None for
    none. At most one of `json`, `body` and `tar` is set. `json` present with YAML null is `has_json` with None.
    `body`: a string, or a mapping with one of `text`, `base64`, `hex`, `file`, and optionally `repeat` (count) and
    `chunked` (bool: send with Transfer-Encoding chunked). `tar`: a list of entries as in image recipes.
    `auth`: registry credentials, sent as X-Registry-Auth. `upgrade` asks for a hijacked connection (`tcp`) or a
    websocket. `stdin` is written after the upgrade; then the sending side is half-closed unless `half_close` is false.
    `tty` says that the answer is a raw stream and not multiplexed frames.
    """

    method: str
    path: Value
    api: str | None = "1.40"
    query: dict[str, Value] = field(default_factory=dict)
    headers: dict[str, Value] = field(default_factory=dict)
    json: Value = None
    has_json: bool = False
    body: Value = None
    tar: Value = None
    auth: Value = None
    upgrade: Literal["tcp", "websocket"] | None = None
    stdin: Value = None
    half_close: bool = True
    tty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryStep(Step):
    """A request straight to the registry; fields as in `RequestStep`."""

    method: str
    path: Value
    query: dict[str, Value] = field(default_factory=dict)
    headers: dict[str, Value] = field(default_factory=dict)
    json: Value = None
    has_json: bool = False
    body: Value = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerStep(Step):
    """A command line of the docker client under test: `argv` without the leading `docker`."""

    argv: tuple[Value, ...]
    stdin: Value = None
    env: dict[str, Value] = field(default_factory=dict)
    tty: TtySize | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesStep(Step):
    """A snapshot of the target's process table; `select` are matchers on a process's fields (see `tap.processes`)."""

    select: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStep(Step):
    """A file, directory, link or device on the target's host: what it is, and what is in it."""

    path: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinStep(Step):
    """Wait for a background step to end; its exchange is what `expect` and `save` see."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitStep(Step):
    """Wait until what a background step has received so far meets `expect`, or can no longer do so."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStep(Step):
    """Write `data` (as in `RequestStep.body`) to the stdin of a background step."""

    target: str
    data: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseStdinStep(Step):
    """Half-close the connection of a background step: the container reads end of file."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectStep(Step):
    """Cut a background step's connection, as a client that goes away does."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultStep(Step):
    """Harm done to a program of the stack.

    `action`: kill (with `signal`, a name without SIG), stop, continue, restart, fill or drain. `victim`: dockerd,
    containerd, registry, or shim and container, which are those of the container whose full id is `of`.
    """

    action: FaultAction
    victim: str
    of: Value = None
    signal: str = "KILL"


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image that the scenario speaks of. `recipe` names scenarios/images/<recipe>.yaml.

    `present`: the engine has it before the first step; otherwise the engine must not have it, and only the
    registry serves it. `served`: false keeps it out of the registry as well.
    """

    recipe: str
    present: bool
    served: bool
    mark: Mark


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How the registry must misbehave for this scenario (done by the tap in front of it, so by any registry).

    A rule applies to requests whose line matches `method` and `path` (glob; `*` crosses slashes), for the first
    `times` of them after skipping `after` (`times` None: always). Exactly one action: `status` (answer this instead,
    with optional `headers` and `body`), `cut` (close the connection after this many body bytes), `corrupt` (flip
    the byte of the body at this offset), `delay` (seconds before the answer), `length` (declare this Content-Length),
    `digest` (declare this Docker-Content-Digest), `instead` (answer what the registry has at this path).
    """

    method: str
    path: Value
    mark: Mark
    times: int | None = None
    after: int = 0
    status: int | None = None
    headers: dict[str, Value] = field(default_factory=dict)
    body: Value = None
    cut: int | None = None
    corrupt: int | None = None
    delay: float | None = None
    length: int | None = None
    digest: Value = None
    instead: Value = None


@dataclass(frozen=True, slots=True)
class ApiRange:
    """Engine API versions that a scenario holds for, inclusive; None is unbounded."""

    low: tuple[int, int] | None = None
    high: tuple[int, int] | None = None

    def __contains__(self, version: tuple[int, int]) -> bool:
        return (self.low is None or version >= self.low) and (self.high is None or version <= self.high)


@dataclass(frozen=True, slots=True)
class Requires:
    """What the target must have; otherwise the scenario is skipped and the reason names what is missing."""

    api: ApiRange = ApiRange()
    root: bool = False
    experimental: bool = False
    cgroup: int | None = None
    hops: frozenset[Hop] = frozenset()
    programs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One YAML file, or one row of its `for` table.

    `id` is the path below scenarios/ without `.yaml`, plus `[row id]` for a row; `row` is what `${row...}` names.
    """

    id: str
    path: str
    title: str
    hop: str
    refs: tuple[str, ...]
    images: dict[str, ImageUse]
    requires: Requires
    row: dict[str, Value]
    vars: dict[str, Value]
    registry_faults: tuple[FaultRule, ...]
    steps: tuple[Step, ...]
    cleanup: tuple[Step, ...]
    mark: Mark
    description: str = ""
    tags: frozenset[str] = frozenset()
