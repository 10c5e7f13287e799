"""Steps that speak on one hop directly, as data; see `model` for what all steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sixhops.harness.scenario.model import Step

if TYPE_CHECKING:
    from sixhops.harness.errors import Mark
    from sixhops.harness.scenario.model import Scenario, TtySize, Value

__all__ = ["BundleStep", "DirectStep", "GrpcStep", "RuncStep", "TtrpcStep", "bundle_images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcStep(Step):
    """A call to containerd.

    `path` is gRPC's (`/containerd.services.tasks.v1.Tasks/Get`); `messages` are the requests, which a .proto file
    describes, or else `body` is the one request's bytes (as in `RequestStep.body`). `namespace` is sent as
    containerd-namespace unless it is None. `deadline`: the call's own time limit in seconds. With `half_close` false
    the stream of requests stays open until `close_stdin`.
    """

    path: str
    namespace: Value = "sixhops"
    metadata: dict[str, Value] = field(default_factory=dict)
    messages: tuple[Value, ...] = ()
    body: Value = None
    deadline: float | None = None
    half_close: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TtrpcStep(Step):
    """A call to a shim, that of container `shim` in `namespace`, or whoever listens at `address`.

    `service` is the full name; None is the Task service in the version that the shim offers. `message` is the request,
    unless `body` holds its bytes.
    """

    service: str | None
    method: str
    shim: Value = None
    address: Value = None
    namespace: Value = "sixhops"
    metadata: dict[str, Value] = field(default_factory=dict)
    message: Value = None
    body: Value = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleStep(Step):
    """An OCI bundle made on the stack's machine; its path becomes the variable `variable`.

    `image` is the recipe of which rootfs is a copy, None for an empty rootfs; `files` are entries as in recipes, laid
    over it. `config` is merged over the default configuration; `raw`, a body, is config.json instead.
    """

    variable: str
    image: str | None = None
    config: Value = None
    raw: Value = None
    files: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuncStep(Step):
    """A command line of the runtime: `argv` without the leading `runc`.

    `console`: the name under which the terminal that comes over a --console-socket is kept. `descriptors`: for each of
    the descriptors 3, 4 ... a body that it reads, or "output" when it is for writing.
    """

    argv: tuple[Value, ...]
    stdin: Value = None
    env: dict[str, Value] = field(default_factory=dict)
    tty: TtySize | None = None
    console: str | None = None
    cwd: Value = "/"
    descriptors: tuple[Value, ...] = ()


DirectStep: TypeAlias = GrpcStep | TtrpcStep | BundleStep | RuncStep


def bundle_images(scenario: Scenario) -> dict[str, Mark]:
    """Return the recipes that a scenario's bundles are made of, and where they are named."""
    steps = (*scenario.steps, *scenario.cleanup)
    return {
        step.image: step.mark for step in steps if isinstance(step, BundleStep) and step.image is not None
    }
