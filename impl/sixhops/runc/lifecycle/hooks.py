"""Running hooks: the container's state on stdin, output kept for the error text, a bound on the time.

https://github.com/opencontainers/runtime-spec/blob/main/config.md#posix-platform-hooks
"""

# Imported when needed, because the program starts often.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import select
import time

from sixhops.linux.clone import fork_plainly
from sixhops.linux.fds import close_on_exec_from
from sixhops.linux.libc import describe
from sixhops.linux.pidfd import open_process
from sixhops.linux.signals import reset_signals
from sixhops.runc.errors import HookError

__all__ = ["run_hooks"]

# path, args, env, timeout: the members of a hook
Hook = dict[str, object]

_BLOCK = 65536
_KEPT = 1 << 20


def run_hooks(hooks: list[Hook], state: dict[str, object], directory: str = "") -> None:
    """Run hooks one after the other, in `directory` if it is there; the first failure stops with HookError.

    The error has the hook's output.
    """
    for position, hook in enumerate(hooks):
        try:
            _run(hook, directory, json.dumps(state, separators=(",", ":"), ensure_ascii=False).encode())
        except HookError as error:
            raise HookError(f"error running hook #{position}: {error}") from error


def _run(hook: Hook, directory: str, state: bytes) -> None:
    path = str(hook["path"])
    timeout = hook.get("timeout")
    if not path:
        raise HookError("exec: no command")
    if isinstance(timeout, int) and timeout <= 0:
        raise HookError(f"hook ran past specified timeout of {timeout:.1f}s")
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(4)]
    (
        (input_read, input_write),
        (output_read, output_write),
        (error_read, error_write),
        (failed_read, failed_write),
    ) = pipes
    pid = fork_plainly()
    if pid == 0:
        _become(hook, directory, (input_read, output_write, error_write), failed_write)
    for descriptor in (input_read, output_write, error_write, failed_write):
        os.close(descriptor)
    try:
        failure = os.read(failed_read, 16)
        if failure:
            os.waitpid(pid, 0)
            raise HookError(f"fork/exec {path}: {describe(int(failure))}")
        deadline = time.monotonic() + float(timeout) if isinstance(timeout, int) else None
        status, output, errors = _supervise(pid, state, (input_write, output_read, error_read), deadline)
        input_write = -1
    finally:
        for descriptor in (input_write, output_read, error_read, failed_read):
            if descriptor >= 0:
                try:
                    os.close(descriptor)
                except OSError:
                    continue  # closed by the supervision already
    if status is None:
        raise HookError(f"hook ran past specified timeout of {float(str(timeout)):.1f}s")
    if status:
        what = f"exit status {status}" if status > 0 else f"signal: {_signal_word(-status)}"
        shown = [text.decode(errors="replace") for text in (output, errors)]
        raise HookError(f"error running hook: {what}, stdout: {shown[0]}, stderr: {shown[1]}")


def _become(hook: Hook, directory: str, streams: tuple[int, int, int], failed: int) -> None:
    """Turn the forked child into the hook; never returns."""
    try:
        for target, source in enumerate(streams):
            os.dup2(source, target)
        if os.path.isdir(directory):  # of poststop hooks the bundle may be gone
            os.chdir(directory)
        close_on_exec_from(3)
        reset_signals()
        path = str(hook["path"])
        arguments = hook.get("args") or [path]
        environment = hook.get("env")
        assert isinstance(arguments, list)
        if isinstance(environment, list) and environment:
            pairs = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        else:
            pairs = dict(os.environ)
        os.execve(path, arguments, pairs)
    except OSError as error:
        os.write(failed, str(error.errno or 22).encode())
    except BaseException:  # noqa: BLE001  a forked child must not run the parent's code any further
        os.write(failed, b"22")
    finally:
        os._exit(127)


def _supervise(
    pid: int, state: bytes, streams: tuple[int, int, int], deadline: float | None
) -> tuple[int | None, bytes, bytes]:
    """Feed and drain the hook until it ends; its exit status (negative: a signal), None if the time ran out."""
    to_hook, output, errors = streams
    process = open_process(pid)
    collected = {output: b"", errors: b""}
    poller = select.poll()
    for descriptor in (output, errors, process):
        poller.register(descriptor, select.POLLIN)
    os.set_blocking(to_hook, False)
    poller.register(to_hook, select.POLLOUT)
    ended = False
    try:
        while not ended:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            ready = poller.poll(None if left is None else left * 1000)
            if not ready and left == 0:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                return None, b"", b""
            for descriptor, _ in ready:
                if descriptor == to_hook:
                    state = _feed(to_hook, state)
                    if not state:
                        poller.unregister(to_hook)
                        os.close(to_hook)
                elif descriptor == process:
                    ended = True
                elif not _drain(descriptor, collected):
                    poller.unregister(descriptor)
        for descriptor in (output, errors):
            os.set_blocking(descriptor, False)
            while _drain(descriptor, collected):
                continue
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(process)
    return os.waitstatus_to_exitcode(status), collected[output], collected[errors]


def _feed(descriptor: int, state: bytes) -> bytes:
    try:
        return state[os.write(descriptor, state) :]
    except BlockingIOError:
        return state
    except BrokenPipeError:
        return b""  # a hook need not read its state


def _drain(descriptor: int, collected: dict[int, bytes]) -> bool:
    try:
        data = os.read(descriptor, _BLOCK)
    except BlockingIOError:
        return False
    collected[descriptor] = (collected[descriptor] + data)[-_KEPT:]
    return bool(data)


def _signal_word(number: int) -> str:
    import signal

    return (signal.strsignal(number) or str(number)).lower()
