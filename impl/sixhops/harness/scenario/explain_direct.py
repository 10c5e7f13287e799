"""Steps that speak on one hop directly, in words, for `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sixhops.harness.match import render
from sixhops.harness.scenario.direct import BundleStep, GrpcStep, RuncStep, TtrpcStep
from sixhops.harness.scenario.model import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.scenario.direct import DirectStep

__all__ = ["bare", "direct_action", "direct_details"]


def direct_action(step: DirectStep) -> str:
    """Return what a step does, without what goes with it."""
    match step:
        case GrpcStep():
            return f"{step.path[1:]}, straight to containerd"
        case TtrpcStep():
            where = f"the shim of {bare(step.shim)}" if step.shim is not None else bare(step.address)
            return f"{step.service or 'Task'}/{step.method}, straight to {where}"
        case BundleStep():
            return f"make the bundle {step.variable} {_of(step)}"
        case RuncStep():
            return " ".join(["runc", *map(bare, step.argv)])


def direct_details(step: DirectStep) -> Iterator[str]:
    """Yield what goes with a step, a phrase each."""
    match step:
        case GrpcStep():
            yield from (f"the request {render(message)}" for message in step.messages)
            yield from _call(step)
            if not step.half_close:
                yield "the requests left open"
        case TtrpcStep():
            if step.body is None:
                yield f"the request {render(step.message)}"
            yield from _call(step)
        case BundleStep():
            if step.raw is not None:
                yield f"the config.json {render(step.raw)}"
            elif step.config:
                yield f"this over the default configuration: {render(step.config)}"
            yield from (f"in its rootfs {render(entry)}" for entry in step.files)
        case RuncStep():
            yield from _program(step)


def _call(step: GrpcStep | TtrpcStep) -> Iterator[str]:
    if step.body is not None:
        yield f"these bytes as the request: {render(step.body)}"
    yield f"the namespace {bare(step.namespace)}" if step.namespace is not None else "no namespace"
    for key, value in step.metadata.items():
        yield f"the metadata {key}: {bare(value)}"
    if step.deadline is not None:
        yield f"a deadline of {step.deadline:g} s"


def _program(step: RuncStep) -> Iterator[str]:
    if step.stdin is not None:
        yield f"the input {render(step.stdin)}"
    for key, value in step.env.items():
        yield (
            f"{key}={bare(value)} in the environment" if value is not None else f"no {key} in the environment"
        )
    if step.tty is not None:
        yield f"a terminal of {step.tty.rows} rows and {step.tty.columns} columns"
    if step.console is not None:
        yield f"a console socket, whose terminal is kept as {step.console}"
    if step.cwd != "/":
        yield f"the working directory {bare(step.cwd)}"
    for number, item in enumerate(step.descriptors, 3):
        yield (
            f"descriptor {number} to write to"
            if item == "output"
            else f"{render(item)} on descriptor {number}"
        )


def _of(step: BundleStep) -> str:
    return f"of the image {step.image}" if step.image is not None else "with an empty rootfs"


def bare(value: Any) -> str:
    """Return a value as it is written where no quotes are needed."""
    if isinstance(value, Template):
        return value.text
    return value if isinstance(value, str) else render(value)
