"""What `create` does before it does anything: reading, checking and planning, for its own sake.

For processes that will create containers later: the interpreter rewrites code while it is called for the first times,
and a fork gets a page of its own for each that it writes to, if only a reference count. After a rehearsal that has
happened, at a time when nobody waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle

from sixhops.linux import keyring, lastwait, loopback
from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.layout import container_groups
from sixhops.linux.compaction import gather_code
from sixhops.runc import channel
from sixhops.runc.cli.selfexe import is_sealed
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.inside.filters import check_filter, compile_document
from sixhops.runc.inside.identity import environment
from sixhops.runc.inside.validate import validate
from sixhops.runc.lifecycle import state
from sixhops.runc.lifecycle.create import new_container
from sixhops.runc.lifecycle.gate import offer_gate
from sixhops.runc.lifecycle.outline import Place, hook_values, outline_of
from sixhops.runc.lifecycle.spare import expect, suits
from sixhops.runc.main import dispatch
from sixhops.wire.runtime.parse import parse_spec
from sixhops.wire.runtime.reader import SpecError

__all__ = ["rehearse", "rehearse_here"]

# what `create` imports when it needs it, and nearly every container does
LATE = (keyring, loopback)
_NAME = "rehearsal"
_NOTHING = "/dev/null"  # below which nothing is found, and nothing is made
_OPTIONS = ("--root", _NOTHING, "--log", _NOTHING, "--log-format", "json")
_ROOTFS = "/dev"
_TIMES = 20  # the interpreter is content after eight


def rehearse(document: str, directory: str = "") -> None:
    """Read, check and plan a container by a config.json's text; it has no effect, also if the document is wrong.

    With a `directory`, its record is written there as well, and removed.
    """
    try:
        _plan(document)
        if directory:
            _record(document, directory)
    except (SpecError, RuntimeFault, OSError):
        return  # `create` will say so, if it ever gets this one


def rehearse_here(arguments: dict[str, str]) -> None:
    """`rehearse` for a fork server, with the one argument `document`, until all is as it will be."""
    document = arguments["document"]
    gather_code(lambda: rehearse(document))
    for _ in range(_TIMES):
        rehearse(document)


def _record(document: str, root: str) -> None:
    state.release(root, _NAME)  # what one has left that was killed
    spec = parse_spec(document)
    held = state.claim(root, _NAME)
    try:
        container = new_container(root, _NAME, spec, root, _ROOTFS)
        os.mkfifo(container.gate, 0o600)
        gate = os.open(container.gate, os.O_RDWR | os.O_CLOEXEC)
        state.save(container)
        with open(container.config, "w", encoding="utf-8") as file:
            file.write(document)
        offer_gate(container, lambda _path, _descriptors: None)
        os.close(gate)
    finally:
        os.close(held)
        state.release(root, _NAME)


def _plan(document: str) -> None:
    # where it is not sealed, it would begin with another start of this process
    if is_sealed():
        words = ["create", "--bundle", _NOTHING, "--pid-file", f"{_NOTHING}/pid", _NAME]
        with contextlib.suppress(RuntimeFault, OSError):
            dispatch([*_OPTIONS, *words], sibling=True)
    spec = parse_spec(document)
    if spec.process is None:
        return
    expect(spec)
    validate(spec, _ROOTFS)
    checked = check_filter(spec.linux.seccomp, early=not spec.process.no_new_privileges)
    if checked is not None and spec.linux.seccomp is not None:
        compile_document(spec.linux.seccomp)
    outline = outline_of(spec, Place(_NAME, _ROOTFS, _ROOTFS), checked)
    first = outline.first
    if suits(first):
        first = pickle.loads(pickle.dumps(first, pickle.HIGHEST_PROTOCOL))
    groups = container_groups(outline.layout, f"/{_NAME}")
    control.anchor(groups)
    environment(first.process.env)
    container = state.Container(_NOTHING, _NAME)
    container.created = state.now()
    container.groups = groups
    container.hooks = {"poststart": hook_values(spec.hooks.poststart)}
    container.alive()
    json.loads(json.dumps({name: getattr(container, name) for name in state.Container.__slots__}))
    lastwait.prepare()
    offer_gate(container, lambda _path, _descriptors: None)
    for work in (state.save, state.lock):
        with contextlib.suppress(OSError):
            work(container)
    for end in channel.open_channel():
        end.close()
