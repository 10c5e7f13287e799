"""What `create` does before it does anything: reading, checking and planning, for its own sake.

For processes that will create containers later: the interpreter rewrites code while it is called for the first times,
and a fork gets a page of its own for each that it writes to, if only a reference count. After a rehearsal that has
happened, at a time when nobody waits.
"""

from __future__ import annotations

import json

from sixhops.linux import keyring, loopback
from sixhops.linux.capabilities import last_capability
from sixhops.linux.cgroups import control
from sixhops.linux.cgroups.layout import container_groups, read_layout
from sixhops.linux.compaction import gather_code
from sixhops.runc import channel
from sixhops.runc.cli.commands import COMMANDS
from sixhops.runc.cli.options import parse
from sixhops.runc.errors import RuntimeFault
from sixhops.runc.inside.filters import check_filter, compile_document
from sixhops.runc.inside.identity import environment, masks
from sixhops.runc.inside.plan import plan_container
from sixhops.runc.inside.validate import validate
from sixhops.runc.lifecycle import state
from sixhops.runc.lifecycle.create import hook_values
from sixhops.wire.runtime.parse import parse_spec
from sixhops.wire.runtime.reader import SpecError

__all__ = ["rehearse", "rehearse_here"]

# what `create` imports when it needs it, and nearly every container does
LATE = (keyring, loopback)
_NAME = "rehearsal"
_ROOTFS = "/dev"
_TIMES = 20  # the interpreter is content after eight


def rehearse(document: str) -> None:
    """Read, check and plan a container by a config.json's text; it has no effect, also if the document is wrong."""
    try:
        _plan(document)
    except (SpecError, RuntimeFault, OSError):
        return  # `create` will say so, if it ever gets this one


def rehearse_here(arguments: dict[str, str]) -> None:
    """`rehearse` for a fork server, with the one argument `document`, until all is as it will be."""
    document = arguments["document"]
    gather_code(lambda: rehearse(document))
    for _ in range(_TIMES):
        rehearse(document)


def _plan(document: str) -> None:
    for command, words in (
        ("create", ["--bundle", _ROOTFS, "--pid-file", _ROOTFS, _NAME]),
        ("start", [_NAME]),
    ):
        options, short, *_ = COMMANDS[command]
        parse(words, options, short, command)
    spec = parse_spec(document)
    if spec.process is None:
        return
    validate(spec, _ROOTFS)
    checked = check_filter(spec.linux.seccomp, early=not spec.process.no_new_privileges)
    if checked is not None and spec.linux.seccomp is not None:
        compile_document(spec.linux.seccomp)
    layout = read_layout()
    groups = container_groups(layout, f"/{_NAME}")
    control.exists(groups)
    masks(spec.process, last_capability())
    environment(spec.process.env)
    plan_container(spec, _NAME, _ROOTFS, layout, groups, bundle=_ROOTFS)
    container = state.Container(_ROOTFS, _NAME)
    container.created = state.now()
    container.groups = groups
    container.hooks = {"poststart": hook_values(spec.hooks.poststart)}
    container.alive()
    json.loads(json.dumps({name: getattr(container, name) for name in state.Container.__slots__}))
    for end in channel.open_channel():
        end.close()
