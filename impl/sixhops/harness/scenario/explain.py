"""A scenario in words, for `sixhops explain`; the language in words is in `reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sixhops.harness.match import render
from sixhops.harness.scenario.direct import BundleStep, DirectStep, GrpcStep, RuncStep, TtrpcStep
from sixhops.harness.scenario.explain_direct import bare, direct_action, direct_details
from sixhops.harness.scenario.grammar import HOPS
from sixhops.harness.scenario.model import (
    AwaitStep,
    CloseStdinStep,
    DisconnectStep,
    DockerStep,
    FaultStep,
    FileStep,
    JoinStep,
    ProcessesStep,
    RegistryStep,
    RequestStep,
    SendStep,
)
from sixhops.harness.scenario.reference import language_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sixhops.harness.scenario.model import ApiRange, FaultRule, Requires, Scenario, Step

__all__ = ["explain", "language_reference"]

_WIDE: Final = 100


def explain(scenario: Scenario) -> str:
    """Return a numbered account of a scenario: what is given, done, and to be seen on which hop."""
    lines = [scenario.title, f"  {scenario.id}  ({scenario.path})"]
    if scenario.description:
        lines += ["", *scenario.description.strip().splitlines()]
    given = [*_given(scenario)]
    if given:
        lines += ["", "Given"]
        lines += [f"  - {line}" for line in given]
    lines += ["", "Steps"]
    for step in scenario.steps:
        lines += _step(step)
    if scenario.cleanup:
        lines += ["", "Afterwards, whatever happened"]
        for step in scenario.cleanup:
            lines += _step(step)
    if scenario.refs:
        lines += ["", f"Covers {', '.join(scenario.refs)}"]
    return "\n".join(lines) + "\n"


def _given(scenario: Scenario) -> Iterator[str]:
    yield from _needs(scenario.requires)
    for use in scenario.images.values():
        where = "on the engine and" if use.present else "not on the engine, but"
        if use.served:
            yield f"the image {use.recipe} is {where} in the registry"
        else:
            nowhere = "on the engine, and not in the registry" if use.present else "nowhere"
            yield f"the image {use.recipe} is {nowhere}"
    for name, value in scenario.row.items():
        yield f"row.{name} is {render(value)}"
    for name, value in scenario.vars.items():
        yield f"{name} is {render(value)}"
    for rule in scenario.registry_faults:
        yield _fault(rule)


def _needs(requires: Requires) -> Iterator[str]:
    if requires.api.low is not None or requires.api.high is not None:
        yield f"an engine with API {_range(requires.api)}"
    if requires.root:
        yield "an engine that runs as root"
    if requires.experimental:
        yield "an engine with experimental features"
    if requires.cgroup is not None:
        yield f"cgroups version {requires.cgroup}"
    if requires.hops:
        yield f"a target that shows the hops {', '.join(sorted(requires.hops))}"
    if requires.programs:
        yield f"a target with {', '.join(sorted(requires.programs))}"


def _range(versions: ApiRange) -> str:
    low = ".".join(map(str, versions.low)) if versions.low else ""
    high = ".".join(map(str, versions.high)) if versions.high else ""
    if low == high:
        return low
    if not high:
        return f"{low} or later"
    return f"{high} or earlier" if not low else f"{low} to {high}"


def _fault(rule: FaultRule) -> str:
    what = {
        "status": f"is answered with {rule.status}",
        "cut": f"is cut off after {rule.cut} bytes of the body",
        "corrupt": f"gets a flipped byte at offset {rule.corrupt} of the body",
        "delay": f"is answered {rule.delay} s late",
        "length": f"is declared to be {rule.length} bytes long",
        "digest": f"is declared to have the digest {render(rule.digest).strip(chr(34))}",
        "instead": f"gets what is at {render(rule.instead).strip(chr(34))}",
    }
    action = next(text for name, text in what.items() if getattr(rule, name) is not None)
    method = "every request" if rule.method == "*" else rule.method
    times = "" if rule.times is None else f", {rule.times} times"
    after = f", after the first {rule.after}" if rule.after else ""
    return f"the registry misbehaves: {method} {render(rule.path).strip(chr(34))} {action}{times}{after}"


def _step(step: Step) -> list[str]:
    head = _action(step)
    named = f"{step.name}: {head}" if step.name not in head else head
    lines = [f"  {step.index + 1}. {named}"]
    if step.background is not None:
        lines.append(f"     it goes on in the background as {step.background}")
    lines += [f"     with {line}" for line in _details(step)]
    if step.eventually is not None:
        lines.append(f"     repeated until what follows holds, for at most {step.eventually.timeout:g} s")
        lines += [
            f"     given up when {line}"
            for e in step.eventually.fail_if
            for line in _expectation(e.facet, e.value)
        ]
    for expectation in step.expect:
        first, *more = _expectation(expectation.facet, expectation.value)
        lines += [f"     expect {first}", *(f"          {line}" for line in more)]
    for save in step.save:
        part = f", the part that matches {save.pattern!r}" if save.pattern else ""
        lines.append(f"     save {save.source}{part} as {save.name}")
    return lines


def _action(step: Step) -> str:
    match step:
        case RequestStep():
            version = f" (API {step.api})" if step.api else " (no version)"
            return f"{step.method} {bare(step.path)}{version}"
        case RegistryStep():
            return f"{step.method} {bare(step.path)}, straight to the registry"
        case DockerStep():
            return "docker " + " ".join(map(bare, step.argv))
        case GrpcStep() | TtrpcStep() | BundleStep() | RuncStep():
            return direct_action(step)
        case ProcessesStep():
            chosen = ", ".join(f"{key} {render(value)}" for key, value in step.select.items())
            return f"look at the processes with {chosen}" if chosen else "look at all processes"
        case FileStep():
            return f"look at the file {bare(step.path)}"
        case JoinStep():
            return f"wait for the end of {step.target}"
        case AwaitStep():
            return f"wait for what is expected of {step.target}"
        case SendStep():
            return f"write {render(step.data)} to {step.target}"
        case CloseStdinStep():
            return f"close the stdin of {step.target}"
        case DisconnectStep():
            return f"cut the connection of {step.target}"
        case FaultStep():
            whose = f" of {bare(step.of)}" if step.of is not None else ""
            how = f" with SIG{step.signal}" if step.action == "kill" else ""
            return f"{step.action} the {step.victim}{whose}{how}"
        case _:
            return type(step).__name__


def _details(step: Step) -> Iterator[str]:
    if isinstance(step, DirectStep):
        yield from direct_details(step)
    if isinstance(step, RequestStep | RegistryStep):
        for key, value in step.query.items():
            yield f"the query parameter {key}={bare(value)}"
        for key, value in step.headers.items():
            yield f"the header {key}: {bare(value)}"
        if step.has_json:
            yield f"the JSON {render(step.json)}"
        if step.body is not None:
            yield f"the body {render(step.body)}"
    if isinstance(step, RequestStep):
        if step.tar is not None:
            yield f"a tar archive of {render(step.tar)}"
        if step.auth is not None:
            yield "registry credentials"
        if step.upgrade is not None:
            yield f"an upgrade of the connection to {step.upgrade}"
        if step.tty:
            yield "an answer that is a terminal's stream"
    if isinstance(step, RequestStep | DockerStep) and step.stdin is not None:
        open_after = isinstance(step, RequestStep) and not step.half_close
        yield f"the input {render(step.stdin)}{', left open' if open_after else ''}"
    if isinstance(step, DockerStep):
        for key, value in step.env.items():
            yield f"{key}={bare(value)} in the environment"
        if step.tty is not None:
            yield f"a terminal of {step.tty.rows} rows and {step.tty.columns} columns"


def _expectation(facet: str, value: Any) -> list[str]:
    subject = f"on the {facet} hop" if facet in HOPS else facet
    text = render(value)
    if len(text) <= _WIDE:
        return [f"{subject}: {text}"]
    if isinstance(value, list):
        return [f"{subject}:", *(f"  - {render(item)}" for item in value)]
    if isinstance(value, dict):
        return [f"{subject}:", *(f"  {key}: {render(item)}" for key, item in value.items())]
    return [f"{subject}: {text}"]
