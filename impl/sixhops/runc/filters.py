"""The document's seccomp section as a compiled filter."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from sixhops.linux import seccomp as s
from sixhops.runc.errors import RuntimeFault

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Seccomp

__all__ = ["Filter", "check_filter", "compile_document"]

_EPERM = 1
_CARRIES_ERRNO = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}


@dataclass(frozen=True)
class Filter:
    """What has to be known about a filter apart from its program."""

    flags: int
    listener_path: str
    listener_metadata: str


def check_filter(document: Seccomp) -> Filter:
    """Check all words; raises RuntimeFault with the word that is unknown."""
    _action(document.default_action, None)
    for name in document.architectures:
        if name not in s.ARCHITECTURES:
            raise RuntimeFault(f"string {name} is not a valid arch for seccomp")
    flags = 0
    for name in document.flags:
        if name not in s.FLAGS:
            raise RuntimeFault(f"seccomp flag {name!r} not known to runc".replace("'", '"'))
        flags |= s.FLAGS[name]
    notifies = document.default_action == "SCMP_ACT_NOTIFY"
    for rule in document.rules:
        if not rule.action:
            raise RuntimeFault("action must be specified")
        _action(rule.action, None)
        if rule.action == "SCMP_ACT_NOTIFY":
            notifies = True
            if "write" in rule.names:
                raise RuntimeFault("SCMP_ACT_NOTIFY cannot be used for the write syscall")
        for argument in rule.arguments:
            if argument.op not in s.OPERATORS:
                raise RuntimeFault(f"string {argument.op} is not a valid operator for seccomp")
    if document.default_action == "SCMP_ACT_NOTIFY":
        raise RuntimeFault("SCMP_ACT_NOTIFY cannot be used as default action")
    if notifies and not document.listener_path:
        raise RuntimeFault("seccomp SCMP_ACT_NOTIFY is set but listenerPath is not")
    if document.listener_path and not notifies:
        return Filter(flags, "", "")
    return Filter(flags, document.listener_path, document.listener_metadata)


@functools.lru_cache(maxsize=16)
def compile_document(document: Seccomp) -> bytes:
    """Return the program; a loaded parent that has asked once gives its forks the answer for nothing.

    Raises LinuxError, and RuntimeFault if libseccomp is missing.
    """
    rules = (
        (
            rule.names,
            _action(rule.action, rule.errno),
            tuple((a.index, s.OPERATORS[a.op], a.value, a.value_two) for a in rule.arguments if a.index < 6),
        )
        for rule in document.rules
    )
    try:
        return s.compile_filter(
            _action(document.default_action, document.default_errno), document.architectures, rules
        )
    except s.LibraryMissingError as error:
        raise RuntimeFault(
            "config provided but seccomp not supported: libseccomp.so.2 is not installed"
        ) from error


def _action(name: str, errno: int | None) -> int:
    if name not in s.ACTIONS:
        raise RuntimeFault(f"string {name} is not a valid action for seccomp")
    value = s.ACTIONS[name]
    if name in _CARRIES_ERRNO:
        value |= (_EPERM if errno is None else errno) & 0xFFFF
    return value
