import pytest

from sixhops.shim.loop import Loop
from sixhops.shim.process import Process, State, refuse
from sixhops.shim.stdio import Paths, Streams
from sixhops.wire.ttrpc.status import Code, RpcError


def process(state: State, exec_id: str = "") -> Process:
    return Process("c", exec_id, Paths(), Streams(Loop(), Paths()), state=state)


REFUSED = [
    ("", State.PAUSED, "exec", Code.UNKNOWN, "cannot exec in a paused state"),
    ("", State.RUNNING, "delete", Code.UNKNOWN, "cannot delete a running process"),
    ("", State.RUNNING, "resume", Code.UNKNOWN, "cannot resume a running process"),
    ("", State.PAUSED, "pause", Code.UNKNOWN, "cannot pause a paused container"),
    ("", State.STOPPED, "start", Code.UNKNOWN, "cannot start a stopped process"),
    ("", State.DELETED, "kill", Code.NOT_FOUND, "cannot kill a deleted process: not found"),
    ("e", State.STOPPED, "kill", Code.NOT_FOUND, "process already finished: not found"),
    ("e", State.RUNNING, "delete", Code.UNKNOWN, "cannot delete a running process"),
]
ALLOWED = [
    ("", State.CREATED, "exec"),
    ("", State.CREATED, "start"),
    ("", State.CREATED, "delete"),
    ("", State.RUNNING, "pause"),
    ("", State.PAUSED, "resume"),
    ("", State.PAUSED, "kill"),
    ("", State.STOPPED, "delete"),
    ("", State.STOPPED, "kill"),
    ("e", State.CREATED, "start"),
    ("e", State.RUNNING, "kill"),
    ("e", State.STOPPED, "delete"),
]


@pytest.mark.parametrize(("exec_id", "state", "operation", "code", "message"), REFUSED)
def test_refused(exec_id: str, state: State, operation: str, code: Code, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        refuse(process(state, exec_id), operation)

    assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(("exec_id", "state", "operation"), ALLOWED)
def test_allowed(exec_id: str, state: State, operation: str) -> None:
    assert refuse(process(state, exec_id), operation) is None  # type: ignore[func-returns-value]
