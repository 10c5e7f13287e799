"""Runs one command line with two docker clients against one engine and says what differs.

What must differ is normalised away: ids, times, the engine's random names. Both clients go through a recording tap, so
the requests are compared as well as output, exit status and the files that are left.
`python tests/docker/docker_compare.py ENGINE_SOCKET [TEXT]` prints the figures for an engine that has hello-world and
busybox (TEXT: only command lines that hold it, `-v` in front shows what docker did).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_case import Case, words
from docker_engine import Engine
from docker_normal import normal
from docker_screen import rendered, run_on_terminal

from sixhops.harness.scenario.model import Hop
from sixhops.harness.tap.http.tap import HttpTap
from sixhops.harness.tap.recorder import Recorder
from sixhops.harness.target import Address

__all__ = ["OURS", "REAL", "Comparison", "Outcome"]

# Two requests of docker 20.10's are left out on purpose: it pings also when no request follows (ours pings before the
# first), and it asks GET /info before a pull only to learn the name of the default registry (28.2 no longer does).

REAL = ("/usr/bin/docker",)
OURS = (sys.executable, "-m", "sixhops.docker")
BOUND = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one client did, normalised."""

    status: int
    stdout: str
    stderr: str
    requests: tuple[str, ...]
    files: tuple[str, ...]


class Comparison:
    """Two clients and one engine. `close` stops the tap."""

    def __init__(self, engine: Path) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._directory = Path(self._scratch.name) / "work"
        self._path = Path(self._scratch.name) / "tap.sock"
        self._address = f"unix://{engine}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(64)
        self._recorder = Recorder()
        self._tap = HttpTap(listener, Address(self._address, unix=engine), Hop.ENGINE, self._recorder)
        self._tap.start()
        self._engine = Engine(engine)
        self._environment = {
            "PATH": f"{self._directory}/bin:{os.environ['PATH']}", "HOME": str(self._directory), "TZ": "UTC",
            "DOCKER_CONFIG": str(self._directory / "config"), "ONE": "from here", "BEHIND_SSH": f"unix://{engine}",
        }  # fmt: skip

    def close(self) -> None:
        self._tap.close()
        self._engine.close()
        self._scratch.cleanup()

    def clean(self) -> None:
        """Bring the engine back to what it was."""
        self._engine.clean()

    def outcome(self, client: tuple[str, ...], case: Case) -> Outcome:
        self._prepare(case)
        mark = self._recorder.mark()
        argv = [*client, *words(self._filled(case.line))]
        given = {"DOCKER_HOST": f"unix://{self._path}", **case.environment}
        environment = self._environment | {
            name: self._filled(value) for name, value in given.items() if value is not None
        }
        if case.terminal is None:
            done = subprocess.run(
                argv, input=case.stdin, capture_output=True, timeout=BOUND, check=False, cwd=self._directory,
                env=environment,
            )  # fmt: skip
            status = done.returncode
            output, problems = done.stdout.decode(errors="backslashreplace"), done.stderr.decode()
        else:
            status, seen = run_on_terminal(argv, case.terminal, environment, self._directory, BOUND)
            output, problems = rendered(seen), ""
        messages = self._recorder.since(mark, settle=0.5)
        files = tuple(self._files()) if case.files else ()
        self.clean()
        return Outcome(
            status,
            self._normal(output, unordered=case.unordered),
            self._normal(problems, unordered=case.unordered),
            tuple(sorted(_request(m.fields) for m in messages)) if case.requests else (),
            files,
        )

    def differences(self, case: Case) -> list[str]:
        """Return what is different, one line a difference; nothing when both clients do the same."""
        real, ours = self.outcome(REAL, case), self.outcome(OURS, case)
        found = []
        for name in ("status", "stdout", "stderr"):
            a, b = getattr(real, name), getattr(ours, name)
            if a != b:
                found.append(f"{name}: docker {a!r}, ours {b!r}")
        known = ("HEAD /_ping ", "GET /v1.41/info ") if not case.line.endswith("info") else ("HEAD /_ping ",)
        found += [
            f"only docker asks {item}"
            for item in real.requests
            if item not in ours.requests and not item.startswith(known)
        ]
        found += [
            f"only ours asks {item}{_nearest(item, real.requests)}"
            for item in ours.requests
            if item not in real.requests
        ]
        found += [f"only docker leaves {item}" for item in real.files if item not in ours.files]
        found += [f"only ours leaves {item}" for item in ours.files if item not in real.files]
        if case.explained:
            return [] if found else ["they no longer differ"]
        return found

    def _prepare(self, case: Case) -> None:
        """Make the working directory anew and do what the case wants before."""
        shutil.rmtree(self._directory, ignore_errors=True)
        work = self._directory
        for name in ("config", "bin", "tree/b", "empty"):
            (work / name).mkdir(parents=True)
        (work / "env").write_text("# variables\nA=1\nONE\nNOWHERE\n\nB=two words\n")
        (work / "f").write_text("a file\n")
        (work / "tree/a").write_text("a\n")
        (work / "tree/b/c").write_bytes(b"c" * 3000)
        (work / "tree/a").chmod(0o750)
        (work / "tree/link").symlink_to("a")
        (work / "flink").symlink_to("f")
        (work / "treelink").symlink_to("tree")
        with tarfile.open(work / "some.tar", "w") as archive:
            for path in ("f", "tree"):
                archive.add(work / path, path, filter=lambda item: item.replace(mtime=0, deep=False))
        helper = work / "bin" / "docker-credential-toy"
        helper.write_text(_HELPER)
        helper.chmod(0o755)
        ssh = work / "bin" / "ssh"
        ssh.write_text(_SSH)
        ssh.chmod(0o755)
        if case.config is not None:
            (work / "config" / "config.json").write_text(self._filled(json.dumps(case.config)))
        for line in case.before:
            line = self._filled(line)
            argv = ["/bin/sh", "-c", line[1:]] if line.startswith("!") else [*REAL, *words(line)]
            environment = {**self._environment, "DOCKER_HOST": self._address}
            if line.startswith("context use"):
                del environment["DOCKER_HOST"]
            subprocess.run(argv, capture_output=True, timeout=BOUND, check=False, cwd=work, env=environment)

    def _filled(self, text: str) -> str:
        return text.replace("@SOCKET", str(self._path)).replace("@DIR", str(self._directory))

    def _normal(self, text: str, *, unordered: bool = False) -> str:
        text = text.replace(str(self._path), "SOCKET").replace(str(self._directory), "DIRECTORY")
        return normal(text, unordered=unordered)

    def _files(self) -> list[str]:
        """Return a line for each file of the working directory, with what is in it."""
        found = []
        for path in sorted(self._directory.rglob("*")):
            name, state = path.relative_to(self._directory), path.lstat()
            if path.is_symlink():
                about = f"-> {path.readlink()}"
            elif path.is_file():
                data = path.read_bytes()
                about = self._content(name.name, data)
            else:
                about = ""
            found.append(
                self._normal(
                    f"{name} {state.st_mode:o} {state.st_nlink if path.is_file() else 0} {state.st_uid} {about}"
                )
            )
        return found

    def _content(self, name: str, data: bytes) -> str:
        if name.endswith(".json"):
            return data.decode()
        if data.startswith(b"-----BEGIN "):
            return "keys and certificates"  # made anew for each client
        if data[:2] != b"PK" and len(data) >= 1024:
            with contextlib.suppress(tarfile.TarError):
                return _members(data)
        return data.decode() if len(data) < 500 and data.isascii() else hashlib.sha256(data).hexdigest()[:16]


_HELPER = """#!/bin/sh
read -r given
case $1 in
get) if [ "$given" = known.example ]; then printf '{"ServerURL":"%s","Username":"me","Secret":"word"}' "$given"
  elif [ "$given" = token.example ]; then printf '{"ServerURL":"%s","Username":"<token>","Secret":"tok"}' "$given"
  elif [ "$given" = broken.example ]; then echo helper broke; exit 2
  else echo credentials not found in native keychain; exit 1; fi;;
store) echo "store $given" >>"$HOME/helper.log";;
erase) echo "erase $given" >>"$HOME/helper.log";;
list) echo '{"known.example":"me"}';;
esac
"""


_SSH = """#!/bin/sh
echo "ssh $*" >>"$HOME/ssh.log"
while [ "$1" != -- ]; do shift; done
[ "$2" = refused ] && { echo "ssh: connect to host refused port 22: Connection refused" >&2; exit 255; }
shift 2
export DOCKER_HOST="$BEHIND_SSH"
exec "$@"
"""


def _members(data: bytes) -> str:
    """Return what a tar archive holds: names, types, modes, owners, sizes, contents."""
    lines = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for item in archive:
            stream = archive.extractfile(item) if item.isfile() else None
            data = stream.read() if stream else b""
            content = hashlib.sha256(data).hexdigest()[:8] if stream else item.linkname
            about = "keys and certificates" if data.startswith(b"-----BEGIN ") else f"{item.size} {content}"
            lines.append(f"{item.name} {item.type!r} {item.mode:o} {item.uid} {about}")
    return "tar of " + ", ".join(sorted(lines))


def _request(fields: dict[str, Any]) -> str:
    """Return what was asked in one line: method, path, query and body, with ids normalised."""
    body = fields.get("request_body") or ""
    headers = fields.get("request_headers") or {}
    if isinstance(body, str) and body[257:262] == "ustar":
        body = body.encode()
    if isinstance(body, bytes) and len(body) >= 1024 and body[257:262] == b"ustar":
        body = _members(body)
    elif isinstance(body, bytes):
        body = body.decode(errors="backslashreplace")
    with contextlib.suppress(ValueError):
        body = json.dumps(_sorted(json.loads(body)), sort_keys=True)
    query = json.dumps(fields.get("query") or {}, sort_keys=True)
    query = re.sub(r"\b\d{10}(?:\.\d{9})?\b", "TIME", query)
    shown = {name: value for name, value in headers.items() if name.lower().startswith("x-")}
    about = f" {json.dumps(shown, sort_keys=True)}" if shown else ""
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID64", f"{fields['method']} {fields['path']} {query} {body}{about}")
    return re.sub(r"(?<=/containers/)[0-9a-f]{12}\b", "ID12", text)


def _nearest(item: str, others: tuple[str, ...]) -> str:
    """Return where the body of `item` differs from another request of the same kind."""
    head, _, body = item.partition("} {")
    for other in others:
        other_head, _, other_body = other.partition("} {")
        if head == other_head and body and other_body:
            with contextlib.suppress(ValueError):
                return f" ({', '.join(_where(json.loads('{' + body), json.loads('{' + other_body), '$'))})"
    return ""


def _where(left: Any, right: Any, path: str) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted({*left, *right})
        return [line for key in keys for line in _where(left.get(key), right.get(key), f"{path}.{key}")]
    return [] if left == right else [f"{path}: ours {left!r}, docker {right!r}"]


def _sorted(value: Any) -> Any:
    """Return a create document without the order that Go's maps make random: variables and binds."""
    if isinstance(value, dict):
        return {
            key: sorted(item, key=str) if key in ("Env", "Binds", "Ulimits") and item else _sorted(item)
            for key, item in value.items()
        }
    return value


def main() -> int:
    """Compare and print. See the module's text."""
    from docker_cases import CASES

    verbose = sys.argv[1] == "-v"
    socket_path, *rest = sys.argv[2 if verbose else 1 :]
    comparison = Comparison(Path(socket_path))
    chosen = [
        case
        for case in CASES
        if not rest or (CASES.index(case) >= int(rest[0]) if rest[0].isdigit() else rest[0] in case.line)
    ]
    equal = explained = 0
    try:
        comparison.clean()
        for case in chosen:
            if verbose:
                print(f"docker {case.line}\n    {comparison.outcome(REAL, case)}", flush=True)
                continue
            found = comparison.differences(case)
            explained += bool(case.explained) and not found
            equal += not found and not case.explained
            if found:
                after = f"   (after {', '.join(case.before)})" if case.before else ""
                print(f"{CASES.index(case)} docker {case.line}{after}")
                print("".join(f"    {line[:1500]}\n" for line in found), end="", flush=True)
    finally:
        comparison.close()
    different = len(chosen) - equal - explained
    print(f"{len(chosen)} compared, {equal} equal, {explained} different on purpose, {different} different")
    return 0 if not different else 1


if __name__ == "__main__":
    sys.exit(main())
