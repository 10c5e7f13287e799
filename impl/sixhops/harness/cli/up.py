"""`sixhops up`, `down` and `ps`: stacks for a person to use, by any client that speaks to Docker."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sixhops.harness.cli.select import open_library, scenarios_option
from sixhops.harness.documents import nearest
from sixhops.harness.errors import TargetError, UsageError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from sixhops.harness.images import BuiltImage
    from sixhops.harness.stack.standing import StandingStack
    from sixhops.harness.stack.state import Living

__all__ = ["build_recipes", "down", "ps", "up"]

# Seconds that `sixhops down` may take: three daemons' stop_timeout, and the machine's end.
_DOWN_TIMEOUT = 120.0

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--stack", "name", help="upstream, reference, or a mix such as upstream,runc=reference")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="the stack's state: empty or not there, removed at the end (default: one below /var/lib/sixhops)",
)
@click.option(
    "-H", "--host", "address", help="where the engine listens: unix:///PATH or tcp://127.0.0.1:PORT"
)
@click.option(
    "--images",
    default="hello-world,busybox",
    show_default=True,
    help="image recipes to push to its registry, with commas; '' for none",
)
@click.option("--detach", "-d", is_flag=True, help="return when it is ready; `sixhops down` stops it")
@click.option("--debug", is_flag=True, help="its daemons log in detail")
@scenarios_option
def up(
    name: str | None,
    directory: Path | None,
    address: str | None,
    images: str,
    detach: bool,
    debug: bool,
    root: Path | None,
) -> int:
    """Start a stack for you to use, until Ctrl-C; prints what to set, as shell code."""
    from sixhops.harness.images import push
    from sixhops.harness.plugin import DEFAULT_TARGET
    from sixhops.harness.stack.options import StackOptions
    from sixhops.harness.stack.standing import StandingStack

    name = name or os.environ.get("SIXHOPS_TARGET") or DEFAULT_TARGET
    _need_root("up")
    built = build_recipes([word.strip() for word in images.split(",") if word.strip()], root)
    with _ending() as told:
        stack = StandingStack.start(
            name, directory=directory, address=address, options=StackOptions(debug=debug)
        )
        try:
            for image in built:
                push(image, stack.registry)
            _tell(stack, name, built, detached=detach)
            if detach:
                stack.leave()
                return Exit.OK
        except BaseException:
            stack.abandon()
            raise
        told.calm()
        return _stand(stack, told)


def _stand(stack: StandingStack, told: _Told) -> int:
    """Wait until a signal, a program's death or `sixhops down` ends the stack."""
    died: TargetError | None = None
    while died is None and not told.heard() and stack.alive():
        select.select([stack.fileno(), told.fileno()], [], [])
        try:
            stack.check_alive()
        except TargetError as error:
            if not stack.being_stopped():
                died = error
            break
    if died is None and not told.heard():
        # `sixhops down` is at work; its order is not to be disturbed.
        deadline = time.monotonic() + _DOWN_TIMEOUT
        while stack.alive() and not told.heard() and (rest := deadline - time.monotonic()) > 0:
            select.select([stack.fileno(), told.fileno()], [], [], rest)
    if died is not None:
        click.echo(str(died), err=True)
    if told.heard():
        click.echo("stopping", err=True)
    left = stack.close()
    _report(stack.id, left)
    return Exit.FAILED if died is not None or left else Exit.OK


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="every stack that `sixhops up` has started")
def down(ids: tuple[str, ...], everything: bool) -> int:
    """Stop stacks (IDS, or their beginnings; by default the only one) and check that nothing is left.

    Exit code 1 when something is, and its name.
    """
    from sixhops.harness.stack.options import StackOptions
    from sixhops.harness.stack.standing import choose, stop

    _need_root("down")
    if ids and everything:
        raise UsageError("ids and --all can't go together")
    code = Exit.OK
    for stack in choose(ids, everything=everything):
        left = stop(stack, StackOptions())
        _report(stack.id, left)
        if left:
            code = Exit.FAILED
    return code


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def ps(as_json: bool) -> int:
    """List the stacks that run: yours, and those of the suite's runs."""
    from sixhops.harness.stack.standing import state_of
    from sixhops.harness.stack.state import base_directory, living

    _need_root("ps")
    rows: list[dict[str, Any]] = [_row(stack, state_of(stack)) for stack in living(base_directory())]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return Exit.OK
    if not rows:
        click.echo("no stack runs", err=True)
        return Exit.OK
    shown = [{**row, "age": _age(row["age"])} for row in rows]
    columns = ("id", "stack", "engine", "age", "state", "owner", "docker_host")
    widths = {name: max(len(name), *(len(str(row[name])) for row in shown)) for name in columns}
    for line in ({name: name.upper() for name in columns}, *shown):
        click.echo("  ".join(f"{line[name]!s:<{widths[name]}}" for name in columns).rstrip())
    return Exit.OK


def _row(stack: Living, state: str) -> dict[str, Any]:
    record = stack.record
    if record is None:
        return {
            "id": stack.id, "stack": "", "engine": "", "age": 0.0, "state": state, "owner": "",
            "docker_host": "", "directory": str(stack.path), "init": 0,
        }  # fmt: skip
    whose = (
        "detached"
        if record.purpose == "up" and not record.owner
        else f"{record.purpose}, process {record.owner}"
    )
    return {
        "id": stack.id,
        "stack": record.name,
        "engine": record.version,
        "age": round(max(0.0, time.time() - record.started), 1),
        "state": state,
        "owner": whose,
        "docker_host": record.engine,
        "directory": str(stack.path),
        "init": record.init,
    }


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise UsageError(
            f"`sixhops {command}` needs root: a stack is made of namespaces, mounts and control groups"
        )


def build_recipes(names: Sequence[str], root: Path | None) -> list[BuiltImage]:
    """Build the images of these recipes. Raises UsageError for one that there is not."""
    from sixhops.harness.cache import cache_folder
    from sixhops.harness.images import build, load_recipe

    if not names:
        return []
    folder = open_library(root).root / "images"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    built = []
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no image recipe {name!r}{nearest(name, known)}; there are {', '.join(known)}"
            )
        cache_folder().mkdir(parents=True, exist_ok=True)
        built.append(build(load_recipe(folder / f"{name}.yaml"), cache_folder()))
    return built


def _tell(stack: StandingStack, name: str, built: Sequence[BuiltImage], *, detached: bool) -> None:
    facts = stack.facts
    holds = ", ".join(f"{image.repository}:{tag}" for image in built for tag in image.tags) or "nothing yet"
    how = f"sixhops down {stack.id}" if detached else f"Ctrl-C, or sixhops down {stack.id}"
    for line in (
        f"export DOCKER_HOST={stack.docker_host}",
        f"# stack {stack.id}: {name}, engine {facts.engine_version}, API up to {'.'.join(map(str, facts.api_maximum))}",
        f"# registry: {stack.registry_name} for the engine (and for names without a host), {stack.registry.text} for you",
        f"# it holds: {holds}",
        f"# logs: {stack.logs}",
        f"# look inside: nsenter --target {stack.init} --all",
        f"# stop it: {how}",
    ):
        click.echo(line)


def _report(stack_id: str, left: Sequence[str]) -> None:
    if not left:
        click.echo(f"stack {stack_id} has stopped, nothing is left", err=True)
    for line in left:
        click.echo(f"stack {stack_id} left behind: {line}", err=True)


class _Told:
    """Whether somebody wants us to end; `fileno` wakes a select."""

    def __init__(self) -> None:
        self._ended = False
        self._raising = True
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def heard(self) -> bool:
        """Return whether a signal has come."""
        return self._ended

    def calm(self) -> None:
        """From now on a signal is only noted; before, it interrupts what is being done."""
        self._raising = False

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        self._ended = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")
        if self._raising:
            self._raising = False  # the clean-up that follows is not to be interrupted
            raise KeyboardInterrupt

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@contextlib.contextmanager
def _ending() -> Iterator[_Told]:
    """Have Ctrl-C, SIGTERM and SIGHUP end what is inside in order."""
    told = _Told()
    before = {number: signal.signal(number, told.hear) for number in _ENDING}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.close()
