"""The document's seccomp section as a compiled filter."""

from __future__ import annotations

from sixhops.linux import seccomp as s
from sixhops.runc.errors import RuntimeFault
from sixhops.values import Value

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from sixhops.wire.runtime.document import Seccomp

__all__ = ["Filter", "check_filter", "compile_document"]

_EPERM = 1
_LAST_ARGUMENT = 5
_REMEMBERED = 16
_compiled: dict[Seccomp, bytes] = {}
# the last one again, found without a look at each of its hundreds of names
_latest: list[tuple[Seccomp, bytes]] = []
_NOTIFY = "SCMP_ACT_NOTIFY"
_CARRIES_ERRNO = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}


class Filter(Value):
    """What has to be known about a filter apart from its program."""

    flags: int
    listener_path: str
    listener_metadata: str


def check_filter(document: Seccomp | None, *, early: bool = False) -> Filter | None:
    """Check all words; raises RuntimeFault with the word that is unknown. None if there is nothing to filter.

    `early` says that the filter comes before the change of the user (no noNewPrivileges), which runc's texts show.
    """
    if document is None or not (document.default_action or document.rules):
        return None
    if _latest and _latest[0][0] is document and not _listens(document):
        return Filter(_flags(document), "", "")  # it has been checked, and compiled
    _action(document.default_action, None)
    for name in document.architectures:
        if name not in s.ARCHITECTURES:
            raise RuntimeFault(f"string {name} is not a valid arch for seccomp")
    flags = _flags(document)
    for rule in document.rules:
        _action(rule.action, None)
        for argument in rule.arguments:
            if argument.op not in s.OPERATORS:
                raise RuntimeFault(f"string {argument.op} is not a valid operator for seccomp")
    problem = _unloadable(document)
    if problem:
        start = "unable to start container process: "
        raise RuntimeFault(start + ("" if early else "unable to init seccomp: ") + problem)
    if not _listens(document):
        return Filter(flags, "", "")
    if not document.listener_path:
        raise RuntimeFault("unable to start container process: listenerPath is not set")
    return Filter(flags, document.listener_path, document.listener_metadata)


def _flags(document: Seccomp) -> int:
    flags = 0
    for name in document.flags:
        if name not in s.FLAGS:
            raise RuntimeFault(f'seccomp flag "{name}" not known to runc')
        flags |= s.FLAGS[name]
    return flags


def _listens(document: Seccomp) -> bool:
    return any(rule.action == _NOTIFY for rule in document.rules)


def _unloadable(document: Seccomp) -> str:
    """Return why a filter of known words can't be loaded, empty if it can."""
    if document.default_action == _NOTIFY:
        return "SCMP_ACT_NOTIFY cannot be used as default action"
    for rule in document.rules:
        if "" in rule.names:
            return "empty string is not a valid syscall"
        if rule.action == _NOTIFY and "write" in rule.names:
            # The first process tells its parent of the listener by write(2), when nobody can answer for it yet.
            return "SCMP_ACT_NOTIFY cannot be used for the write syscall"
        for argument in rule.arguments:
            if argument.index > _LAST_ARGUMENT:
                return (
                    f"error creating seccomp syscall condition for syscall {rule.names[0]}: "
                    f"syscalls only have up to 6 arguments ({argument.index} given)"
                )
    return ""


def compile_document(document: Seccomp) -> bytes:
    """Return the program; a loaded parent that has asked once gives its forks the answer for nothing.

    Raises LinuxError, and RuntimeFault if libseccomp is missing.
    """
    if _latest and _latest[0][0] is document:
        return _latest[0][1]
    program = _compiled.get(document)
    if program is None:
        program = _compile(document)
        if len(_compiled) >= _REMEMBERED:
            _compiled.clear()
        _compiled[document] = program
    _latest[:] = [(document, program)]
    return program


def _compile(document: Seccomp) -> bytes:
    rules = (
        (
            rule.names,
            _action(rule.action, rule.errno),
            tuple((a.index, s.OPERATORS[a.op], a.value, a.value_two) for a in rule.arguments),
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
