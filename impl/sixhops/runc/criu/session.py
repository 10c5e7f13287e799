"""A conversation with CRIU: `criu swrk FD`, one protobuf message a packet, both ways. https://criu.org/RPC

CRIU answers a request with notifications, each of which it wants confirmed before it goes on, and in the end with the
result. It serves one request and ends.
"""

from __future__ import annotations

import _socket
import array
import fcntl
import os
import signal

from google.protobuf.message import DecodeError

from sixhops.linux.libc import describe
from sixhops.runc import log
from sixhops.runc.errors import RuntimeFault
from sixhops.wire.proto import criu_pb2

TYPE_CHECKING = False  # typing's own would cost 5 ms of import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Notified = Callable[[str, int, list[int]], None]

__all__ = ["FIRST_EXTRA", "Session", "require_version", "version"]

#: What the first of a session's `extra` descriptors is in CRIU; 3 is the socket.
FIRST_EXTRA = 4

_ANSWER_LIMIT = 40960
_RIGHTS = 8  # descriptors that one notification may bring
_ABOVE = 64  # where descriptors wait for their places, so that none is overwritten before it was copied


class Session:
    """One CRIU process and the socket to it; a context, at whose end CRIU has ended.

    `stdio` are the three descriptors that a restored container gets as its standard streams (none: /dev/null); `extra`
    become FIRST_EXTRA and so on. Raises RuntimeFault when CRIU can't be started.
    """

    def __init__(
        self, program: str, stdio: tuple[int, int, int] | None = None, extra: Sequence[int] = ()
    ) -> None:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        self._socket = ours
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        waiting: list[int] = []
        try:
            places = (*(stdio or (null, null, null)), theirs.fileno(), *extra)
            waiting.extend(fcntl.fcntl(place, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for place in places)
            actions = [(os.POSIX_SPAWN_DUP2, source, place) for place, source in enumerate(waiting)]
            self.pid = os.posix_spawnp(
                program,
                [program, "swrk", "3"],
                os.environ,
                file_actions=actions,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
                setsigmask=(),
            )
        except OSError as error:
            ours.close()
            raise RuntimeFault(_not_started(program, error)) from error
        finally:
            theirs.close()
            for descriptor in (null, *waiting):
                os.close(descriptor)
        self._ended = False

    def __enter__(self) -> Session:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up, and wait for CRIU's end if `finish` has not."""
        self._socket.close()
        if not self._ended:
            self._reap()

    def ask(
        self, request: criu_pb2.Request, *, log_file: str = "", notified: Notified | None = None
    ) -> criu_pb2.Response:
        """Send a request and return the answer; `notified` is called with each notification before it is confirmed.

        It gets the notification's name, the process that it is about (0: none) and the descriptors that came with it,
        which are closed afterwards. RuntimeFault names `log_file`, where CRIU says why it failed.
        """
        asked = request.type
        self._socket.send(request.SerializeToString())
        while True:
            answer, descriptors = self._receive()
            try:
                if not answer.success:
                    name = criu_pb2.RequestType.Name(asked)
                    raise RuntimeFault(
                        f"criu failed: type {name} errno {answer.cr_errno}\nlog file: {log_file}"
                    )
                if answer.type != criu_pb2.NOTIFY:
                    if answer.type != request.type:
                        raise RuntimeFault(f"unable to parse the response {str(answer).strip()}")
                    return answer
                log.debug(f"notify: {answer.notify.script}")
                if notified is not None:
                    notified(answer.notify.script, answer.notify.pid, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            asked = criu_pb2.NOTIFY
            self._socket.send(criu_pb2.Request(type=asked, notify_success=True).SerializeToString())

    def _receive(self) -> tuple[criu_pb2.Response, list[int]]:
        space = _socket.CMSG_SPACE(_RIGHTS * array.array("i").itemsize)
        data, ancillary, _, _ = self._socket.recvmsg(_ANSWER_LIMIT, space, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise RuntimeFault("unexpected EOF")
        descriptors = array.array("i")
        for level, kind, rights in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
        answer = criu_pb2.Response()
        try:
            answer.ParseFromString(data)
        except DecodeError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise RuntimeFault(f"unable to parse what criu answered: {error}") from error
        return answer, list(descriptors)

    def finish(self, log_file: str) -> None:
        """Tell CRIU that nothing more comes, and wait for its end. Raises RuntimeFault if it does not end well."""
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError as error:
            log.debug(f"criu has hung up first: {error}")
        code = os.waitstatus_to_exitcode(self._reap())
        if code:
            how = f"exit status {code}" if code > 0 else f"signal: {signal.strsignal(-code) or -code}".lower()
            raise RuntimeFault(f"criu failed: {how}\nlog file: {log_file}")

    def _reap(self) -> int:
        self._ended = True
        return os.waitpid(self.pid, 0)[1]


def _not_started(program: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f"fork/exec {program}: {describe(error.errno or 2)}"


def version(program: str) -> int:
    """Return CRIU's version as a number, 40101 for 4.1.1. Raises RuntimeFault.

    One that was built between two releases counts as the next minor one.
    """
    try:
        with Session(program) as session:
            found = session.ask(criu_pb2.Request(type=criu_pb2.VERSION)).version
    except (RuntimeFault, OSError) as error:
        raise RuntimeFault(f"CRIU version check failed: {error}") from error
    number = found.major_number * 10000 + found.minor_number * 100 + found.sublevel
    return number - number % 100 + 100 if found.HasField("gitid") else number


def require_version(found: int, least: int) -> None:
    """Raise RuntimeFault if a version is too old."""
    if found < least:
        raise RuntimeFault(f"CRIU version {found} must be {least} or higher")
