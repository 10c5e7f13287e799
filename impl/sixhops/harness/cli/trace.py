"""`sixhops trace`: one docker command line, and what passes on every hop while it runs."""

# ruff: noqa: PLC0415 - imports wait until they are needed: `sixhops --help` must not wait for them

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

import click

from sixhops.harness.cli.select import scenarios_option
from sixhops.harness.cli.show import HOPS, STYLES
from sixhops.harness.errors import TargetError
from sixhops.harness.integrity import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sixhops.harness.exchange import HopMessage
    from sixhops.harness.show.live import LiveMessages
    from sixhops.harness.show.text import Line
    from sixhops.harness.target import Address, Target

__all__ = ["trace"]

#: Seconds to wait for what the command's end still causes behind it, and how long silence means that there is no more.
_AFTER = 3.0
_SILENCE = 0.3
_LOOK = 0.2
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--target", help="a stack or an engine's address, as for the suite (default: SIXHOPS_TARGET, reference)"
)
@click.option("-v", "--verbose", is_flag=True, help="also all fields of messages: headers, bodies, documents")
@click.option("--hop", "hops", multiple=True, type=click.Choice(HOPS), help="only this hop's messages")
@click.option(
    "-o", "--output", type=click.File("w"), help="write the trace to this file instead of standard error"
)
@click.option(
    "--images",
    default="hello-world,busybox",
    show_default=True,
    help="image recipes to push to the stack's registry, with commas; '' for none",
)
@scenarios_option
def trace(
    arguments: tuple[str, ...],
    target: str | None,
    verbose: bool,
    hops: tuple[str, ...],
    output: IO[str] | None,
    images: str,
    root: Path | None,
) -> int:
    """Run `docker ARGUMENTS` on a stack of its own and print every message on every hop, live.

    The command's own output stays where it is; the trace goes to standard error. Put -- before ARGUMENTS. Exit code 0
    when docker's is, else 1.
    """
    from sixhops.harness.plugin import DEFAULT_TARGET
    from sixhops.harness.show.text import Choice
    from sixhops.harness.stack import open_target
    from sixhops.harness.stack.options import StackOptions

    name = target or os.environ.get("SIXHOPS_TARGET") or DEFAULT_TARGET
    printer = _Printer(output or sys.stderr)
    choice = Choice(frozenset(hops), details=verbose)
    built = _recipes(images, root)
    opened = open_target(name, options=StackOptions(inner_taps=True))
    try:
        _fill(opened, built, printer)
        status = _follow(opened, list(arguments), choice, printer)
    finally:
        left = opened.close()
        for item in left:
            printer.line(f"left behind: {item}", "failed")
    return Exit.OK if status == 0 and not left else Exit.FAILED


def _recipes(images: str, root: Path | None) -> list[Any]:
    from sixhops.harness.cli.up import build_recipes

    return build_recipes([word.strip() for word in images.split(",") if word.strip()], root)


def _fill(target: Target, built: Iterable[Any], printer: _Printer) -> None:
    """Put the images into the target's registry, where it has one of ours."""
    from sixhops.harness.images import push

    if target.registry is not None:
        for image in built:
            push(image, target.registry.direct)
    printer.line(f"on {target.facts.name}, engine {target.facts.engine_version}", "title")
    hidden: dict[str, list[str]] = {}
    for hop, reason in target.facts.hops.items():
        if reason is not None:
            hidden.setdefault(reason, []).append(str(hop))
    for reason, hops in hidden.items():
        printer.line(f"not seen: {', '.join(hops)}: {reason}", "dim")


def _follow(target: Target, arguments: list[str], choice: Any, printer: _Printer) -> int:
    """Run the command; return its exit status (128 and its number for a signal). Raises TargetError."""
    from sixhops.harness.show.live import LiveMessages

    command, address = target.docker_argv(), target.engine_tap()
    if not command or address is None:
        raise TargetError(f"the target {target.facts.name} has no docker client, or no address for one")
    _tree(target, printer, choice, "processes at the start")
    origin = time.monotonic()
    messages = LiveMessages(target.recorder, origin, choice)
    printer.line(f"{0:8.3f} s  docker {' '.join(arguments)}", "title")
    with tempfile.TemporaryDirectory() as home, _left_to_the_command():
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "TERM", "LANG")},
            "HOME": home,
            "DOCKER_CONFIG": f"{home}/.docker",
            "DOCKER_HOST": _address(address),
        }
        environment.setdefault("PATH", _PATH)
        program = subprocess.Popen([*command, *arguments], env=environment)
        try:
            running = False
            while program.poll() is None:
                for message, lines in messages.next(_LOOK):
                    printer.lines(lines)
                    if not running and _is_start(message):
                        running = True
                        _tree(target, printer, choice, "processes when the container has been started")
            ended = time.monotonic() - origin
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
    _rest(messages, printer)
    status = program.returncode if program.returncode >= 0 else 128 - program.returncode
    printer.line(f"{ended:8.3f} s  docker ended with exit status {status}", "title")
    _tree(target, printer, choice, "processes at the end")
    return status


def _rest(messages: LiveMessages, printer: _Printer) -> None:
    """Print what the command's end still causes, until nothing comes any more."""
    deadline = time.monotonic() + _AFTER
    while time.monotonic() < deadline:
        new = [lines for _, lines in messages.next(_SILENCE)]
        for lines in new:
            printer.lines(lines)
        if not new and not messages.open:
            return


def _is_start(message: HopMessage) -> bool:
    return (
        message.hop == "shim"
        and message.fields.get("call") == "Start"
        and message.fields.get("status") == "OK"
    )


def _tree(target: Target, printer: _Printer, choice: Any, title: str) -> None:
    from sixhops.harness.show.tree import tree_lines

    if target.host is None or not choice.has_hop("process"):
        return
    printer.line(f"{title}:", "title")
    printer.lines(tree_lines(target.host.processes()))


def _address(address: Address) -> str:
    return f"unix://{address.unix}" if address.unix is not None else f"tcp://{address.host}:{address.port}"


@contextlib.contextmanager
def _left_to_the_command() -> Iterator[None]:
    """Leave Ctrl-C and Ctrl-\\ to the command, which has the same terminal; its end ends the trace."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printer:
    """Lines with colours on a terminal and without elsewhere. The command may have made the terminal raw."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._end = "\r\n" if file.isatty() else "\n"

    def line(self, text: str, word: str) -> None:
        from sixhops.harness.show.text import printable

        click.echo(
            click.style(printable(text), **STYLES.get(word, {})) + self._end, file=self._file, nl=False
        )

    def lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            styled = click.style(line.text, **STYLES.get(line.word, {}))
            click.echo(styled + self._end, file=self._file, nl=False)
        self._file.flush()
