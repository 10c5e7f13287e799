# ruff: noqa: E501 - a table of values reads best with one row a line
"""Two good runs are equal after normalisation, and a difference beside what varies is still seen."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from typing import Any

import pytest
from diff_runs import A, B, compared, message, of, paths, run, step

from sixhops.harness.diff.archives import archive_value, without_contents
from sixhops.harness.diff.decoded import accept_key


def json_facets(value: Any) -> dict[str, Any]:
    return {"json": value, "body": json.dumps(value, separators=(",", ":")) + "\n"}


#: A value as it may be on both sides, and one with a neighbour that differs: what is seen then.
VALUES: list[tuple[str, Any, Any, tuple[str, str]]] = [
    ("ids", {"Id": "{id}", "Driver": "x"}, {"Id": "{id}", "Driver": "y"}, ("json.Driver", "changed")),
    ("ids in texts", {"m": "no {id}: gone"}, {"m": "no {id}: went"}, ("json.m", "changed")),
    ("ids in URLs", {"m": "%22{id}%22"}, {"m": "%22{id}%23"}, ("json.m", "changed")),
    ("an id's length", {"Id": "{id}"}, {"Id": "{id}ff"}, ("json.Id", "changed")),
    ("an id or none", {"Id": "{id}"}, {"Id": ""}, ("json.Id", "changed")),
    ("times", {"At": "{time}"}, {"At": "0001-01-01T00:00:00Z"}, ("json.At", "changed")),
    ("the form of times", {"At": "{time}"}, {"At": "2026-12-01T11:00:05+01:00"}, ("json.At", "changed")),
    ("paths", {"P": "/var/lib/sixhops/{stack}/docker/x"}, {"P": "/var/lib/sixhops/{stack}/docker/y"}, ("json.P", "changed")),
    ("another stack's path", {"P": "/var/lib/sixhops/{stack}/x"}, {"P": "/var/lib/sixhops/99999999/x"}, ("json.P", "changed")),
    ("unique names", {"N": "/c-{unique}-a"}, {"N": "/c-{unique}-b"}, ("json.N", "changed")),
    ("generated names", {"Name": "/{name}"}, {"Name": "/{name}x9y"}, ("json.Name", "changed")),
    ("addresses", {"IPAddress": "{address}", "Prefix": 16}, {"IPAddress": "{address}", "Prefix": 24}, ("json.Prefix", "changed")),
    ("an address that does not belong", {"i": "{address}", "m": "{mac}"}, {"i": "{address}", "m": "02:42:ac:11:00:09"}, ("json.m", "identity")),
    ("digests of images", {"d": "{digest}"}, {"d": "sha256:" + "c" * 64}, ("json.d", "changed")),
    ("keys", {"Networks": {"{id}": 1}}, {"Networks": {"{id}": 2}}, ("json.Networks.⟨id⟩", "changed")),
    ("the registry", {"s": "{registry}"}, {"s": "127.0.0.1:5000"}, ("json.s", "changed")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "other", "seen"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES]
)
def test_values(value: Any, other: Any, seen: tuple[str, str]) -> None:
    left = run(A, step(**json_facets(of(A, value))))

    assert compared(left, run(B, step(**json_facets(of(B, value))))) == []
    left = run(A, step(**json_facets(of(A, value))))
    assert seen in paths(compared(left, run(B, step(**json_facets(of(B, other))))))


@pytest.mark.parametrize(
    ("a", "b", "seen"),
    [
        ({"Pid": 300, "X": 300}, {"Pid": 4000, "X": 300}, []),
        ({"Pid": 300}, {"Pid": 0}, [("json.Pid", "changed")]),
        ({"Pid": 300}, {"Pid": 1}, [("json.Pid", "changed")]),
        ({"X": 300}, {"X": 4000}, [("json.X", "changed")]),
        ([{"Pid": 300, "Y": {"Pid": 300}}] * 2, [{"Pid": 400, "Y": {"Pid": 400}}, {"Pid": 400, "Y": {"Pid": 401}}], [("json.1.Y.Pid", "identity")]),
        ({"HostPort": "32770"}, {"HostPort": "49153"}, []),
        ({"HostPort": "32770"}, {"HostPort": "8080"}, [("json.HostPort", "changed")]),
        ({"ns": {"net": 4026532000}}, {"ns": {"net": 4026533000}}, []),
        ({"ns": {"net": 4026532000}}, {"ns": {"net": 4026531835}}, [("json.ns.net", "changed")]),
        ({"ns": {"net": 4026532000, "pid": 4026532000}}, {"ns": {"net": 4026533000, "pid": 4026533001}}, [("json.ns.pid", "identity")]),
        ({"ppid": 1, "start": 5, "threads": 7}, {"ppid": 1, "start": 99, "threads": 12}, []),
        ({"ppid": 1, "threads": 7}, {"ppid": 1, "threads": 1}, [("json.threads", "changed")]),
        ({"state": "S"}, {"state": "R"}, []),
        ({"state": "S"}, {"state": "Z"}, [("json.state", "changed")]),
        ({"NFd": 22, "NGoroutines": 40, "Images": 3, "Containers": 1}, {"NFd": 25, "NGoroutines": 33, "Images": 9, "Containers": 1}, []),
        ({"NFd": 22}, {"NFd": 25}, [("json.NFd", "changed")]),
        ({"n": True}, {"n": 1}, [("json.n", "changed")]),
        ({"n": 1}, {"n": 1.0}, [("json.n", "changed")]),
        ({"n": None}, {}, [("json.n", "missing")]),
        ([1, 2, 3], [1, 3], [("json.1", "missing")]),
        ([1, 2], [2, 1], [("json", "order")]),
    ],
)  # fmt: skip
def test_values_by_their_place(a: Any, b: Any, seen: list[tuple[str, str]]) -> None:
    assert paths(compared(run(A, step(**json_facets(a))), run(B, step(**json_facets(b))))) == seen


def test_times_as_numbers() -> None:
    a = {"time": 1795651205, "timeNano": 1795651205123456789, "size": 1577836800}
    b = {"time": 1796119205, "timeNano": 1796119205987654321, "size": 1577836800}

    assert compared(run(A, step(json=a)), run(B, step(json=b))) == []
    assert paths(compared(run(A, step(json=a)), run(B, step(json={**b, "time": 1796119205000})))) == [
        ("json.time", "changed")
    ]


def test_a_mount_table_by_its_structure() -> None:
    def table(first: int, device: int, peer: int) -> list[str]:
        return [
            f"{first} 10 0:{device} / / rw master:{peer} - overlay overlay rw",
            f"{first + 1} {first} 0:{device + 1} / /proc rw - proc proc rw",
        ]

    a, b = {"mountinfo": table(100, 40, 3)}, {"mountinfo": table(777, 90, 8)}
    assert compared(run(A, step(json=a)), run(B, step(json=b))) == []

    b["mountinfo"][1] = b["mountinfo"][1].replace("777", "778")
    assert ("json.mountinfo.1", "identity") in paths(compared(run(A, step(json=a)), run(B, step(json=b))))
    b["mountinfo"][1] = b["mountinfo"][1].replace("rw - proc", "ro - proc")
    assert ("json.mountinfo.1", "changed") in paths(compared(run(A, step(json=a)), run(B, step(json=b))))


def test_files_with_pids_and_mounts_are_read_as_such() -> None:
    def file(path: str, **facets: Any) -> Any:
        made = step(**facets)
        made.kind, made.sent = "file", {"path": path}
        return made

    assert (
        compared(
            run(A, file("/x/init.pid", json=4711, size=4)), run(B, file("/x/init.pid", json=99999, size=5))
        )
        == []
    )
    assert paths(compared(run(A, file("/x/count", json=4711)), run(B, file("/x/count", json=99)))) == [
        ("json", "changed")
    ]
    a, b = "36 35 0:40 / / rw - overlay overlay rw\n", "77 70 0:99 / / rw - overlay overlay rw\n"
    assert (
        compared(run(A, file("/proc/self/mountinfo", text=a)), run(B, file("/proc/self/mountinfo", text=b)))
        == []
    )
    assert paths(
        compared(
            run(A, file("/proc/self/mountinfo", text=a)),
            run(B, file("/proc/self/mountinfo", text=b.replace("rw -", "ro -"))),
        )
    ) == [("text.0", "changed")]


def test_the_list_of_processes_has_the_order_of_pids() -> None:
    def table(*pids: int) -> list[dict[str, Any]]:
        return [{"pid": pid, "comm": comm} for pid, comm in zip(pids, ("sh", "sleep"), strict=True)]

    a, b = step(processes=table(5, 6)), step(processes=table(9, 7)[::-1])
    assert compared(run(A, a), run(B, b)) == []


def test_the_host_header_is_the_address_of_the_target() -> None:
    def to(side: str, name: str, host: str) -> Any:
        transcript = run(side, step())
        transcript.header["target"]["name"] = name
        transcript.exchanges[0].sent["headers"] = {"Host": host}
        return transcript

    one = to(A, "unix:///run/docker.sock", "docker")

    assert compared(one, to(B, "tcp://127.0.0.1:2375", "127.0.0.1:2375")) == []
    assert paths(compared(one, to(B, "tcp://127.0.0.1:2375", "other"))) == [("sent.headers.Host", "changed")]


def test_the_search_path_of_a_client_is_that_of_whoever_runs_the_suite() -> None:
    def client(side: str, **environment: str) -> Any:
        transcript = run(side, step())
        transcript.exchanges[0].sent["env"] = environment
        return transcript

    one = client(A, PATH="/usr/bin", HOME="/x")

    assert compared(one, client(B, PATH="/bin:/usr/bin", HOME="/x")) == []
    assert paths(compared(one, client(B, PATH="/usr/bin", HOME="/y"))) == [("sent.env.HOME", "changed")]
    assert paths(compared(one, client(B, HOME="/x"))) == [("sent.env.PATH", "missing")]


def test_a_pid_inside_is_not_the_one_outside_that_has_its_number() -> None:
    def table(parent: int, pid: int, inner: list[int]) -> dict[str, Any]:
        return step(processes=[{"pid": pid, "ppid": parent, "comm": "sh", "nspid": [pid, *inner]}])

    assert compared(run(A, table(7, 90, [7])), run(B, table(8, 95, [7]))) == []
    assert paths(compared(run(A, table(7, 90, [1])), run(B, table(8, 95, [7])))) == [
        ("processes.0.nspid.1", "changed")
    ]


def test_the_group_of_the_daemons_is_wherever_the_run_was_started() -> None:
    def table(home: str, shim: str, inner: str) -> dict[str, Any]:
        rows = (("dockerd", home), ("containerd-shim", shim), ("sleep", inner))
        return step(
            processes=[
                {"pid": 5 + at, "ppid": 1, "start": 7, "comm": comm, "cgroup": {"cpu": "/", "memory": path}}
                for at, (comm, path) in enumerate(rows)
            ]
        )

    one = run(A, table("/one", "/one", "/inner"))

    assert compared(one, run(B, table("/", "/", "/inner"))) == []
    assert compared(one, run(B, table("/two", "/two", "/inner"))) == []
    assert paths(compared(one, run(B, table("/two", "/one", "/inner")))) == [
        ("processes.0.cgroup.memory", "changed")
    ]
    assert paths(compared(one, run(B, table("/two", "/two", "/two")))) == [
        ("processes.2.cgroup.memory", "changed")
    ]


def test_the_group_of_a_shim_stands_for_that_of_the_daemons_where_none_was_looked_at() -> None:
    def table(shim: str, inner: str) -> dict[str, Any]:
        rows = (("containerd-shim", shim), ("sleep", inner))
        return step(
            processes=[
                {"pid": 5 + at, "ppid": 1, "start": 7, "comm": comm, "cgroup": {"memory": path}}
                for at, (comm, path) in enumerate(rows)
            ]
        )

    assert compared(run(A, table("/one", "/inner")), run(B, table("/two", "/inner"))) == []
    assert paths(compared(run(A, table("/one", "/inner")), run(B, table("/two", "/x")))) == [
        ("processes.1.cgroup.memory", "changed")
    ]


def test_top_is_compared_without_pids_and_times() -> None:
    def top(pid: str, user: str = "root") -> dict[str, Any]:
        return {
            "Titles": ["UID", "PID", "STIME", "CMD"],
            "Processes": [[user, pid, "00:0" + pid[-1], "sleep 9"]],
        }

    assert compared(run(A, step(json=top("71"))), run(B, step(json=top("83")))) == []
    assert paths(compared(run(A, step(json=top("71"))), run(B, step(json=top("83", "daemon"))))) == [
        ("json.Processes.0.0", "changed")
    ]


# --- streams and bodies


def test_frames_are_compared_without_where_they_were_cut() -> None:
    a = step(
        frames=[{"stream": "stdout", "data": "one"}, {"stream": "stdout", "data": "two"}], stdout="onetwo"
    )
    b = step(frames=[{"stream": "stdout", "data": "onetwo"}], stdout="onetwo")
    c = step(frames=[{"stream": "stderr", "data": "onetwo"}], stdout="onetwo")

    assert compared(run(A, a), run(B, b)) == []
    assert paths(compared(run(A, a), run(B, c))) == [("streams.0", "changed")]


def layer(identifier: str, status: str, **detail: int) -> dict[str, Any]:
    return {"id": identifier, "status": status, "progressDetail": detail}


def test_progress_depends_on_speed_but_what_is_said_of_a_layer_does_not() -> None:
    end = {"status": "Status: Downloaded"}
    a = [layer("x", "Pulling fs layer"), layer("x", "Downloading", current=1), layer("y", "Pull complete"), layer("x", "Pull complete"), end]  # fmt: skip
    b = [layer("y", "Waiting"), layer("y", "Pull complete"), layer("x", "Pulling fs layer"), layer("x", "Pull complete"), end]  # fmt: skip

    assert compared(run(A, step(stream=a)), run(B, step(stream=b))) == []
    assert paths(compared(run(A, step(stream=a)), run(B, step(stream=[*b[:3], end])))) == [
        ("stream.1.layers.x.1", "missing")
    ]
    assert paths(compared(run(A, step(stream=a)), run(B, step(stream=b[:4])))) == [("stream.0", "missing")]


def test_json_is_compared_by_value_and_layout() -> None:
    def body(text: str) -> dict[str, Any]:
        return {"json": json.loads(text), "body": text}

    assert compared(run(A, step(**body('{"a":1,"b":2}\n'))), run(B, step(**body('{"b":2,"a":1}\n')))) == []
    for text in ('{"a":1,"b":2}', '{"a": 1, "b": 2}\n'):
        assert paths(compared(run(A, step(**body('{"a":1,"b":2}\n'))), run(B, step(**body(text))))) == [
            ("layout", "changed")
        ]


@pytest.mark.parametrize(
    ("length", "seen"),
    [(3, [("body", "changed")]), (4, [("headers.content-length", "changed"), ("body", "changed")])],
)
def test_a_right_length_follows_from_the_body(length: int, seen: list[tuple[str, str]]) -> None:
    a = step(headers={"content-length": "2"}, body="xy")
    b = step(headers={"content-length": str(length)}, body="xyz")

    assert paths(compared(run(A, a), run(B, b))) == seen


def test_a_reason_is_told_when_it_is_not_the_usual_one() -> None:
    a, b = step(status=400, reason="Bad Request"), step(status=400, reason="Bad Request: no")

    assert paths(compared(run(A, a), run(B, b))) == [("reason", "added")]
    assert paths(compared(run(A, a), run(B, step(status=404, reason="Not Found")))) == [("status", "changed")]


def archive(modified: int, mode: int = 0o644, text: bytes = b"x") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        member = tarfile.TarInfo("etc/x")
        member.size, member.mtime, member.mode = len(text), modified, mode
        file.addfile(member, io.BytesIO(text))
    return data.getvalue()


def test_archives_are_compared_entry_by_entry() -> None:
    a = step(body=archive(1795651205))

    assert compared(run(A, a), run(B, step(body=archive(1796119205)))) == []
    for other, path in (
        (archive(1577836800), "modified"),
        (archive(1796119205, 0o600), "mode"),
        (archive(1796119205, text=b"y"), "sha256"),
    ):
        assert paths(compared(run(A, a), run(B, step(body=other)))) == [
            (f"body.archive.etc/x.{path}", "changed")
        ]


def test_of_archives_that_break_off_is_compared_what_is_there() -> None:
    whole = archive(1796119205, text=b"x" * 600)
    cut = step(body=archive(1795651205, text=b"x" * 600)[:700])

    assert compared(run(A, cut), run(B, step(body=whole[:700]))) == []
    for other, differs in (
        (whole[:701], ["sha256", "there"]),
        (whole[:600] + b"y" * 100, ["sha256"]),
    ):
        assert paths(compared(run(A, cut), run(B, step(body=other)))) == [
            (f"body.archive.etc/x.{path}", "changed") for path in differs
        ]
    behind = archive(1795651205, text=b"x" * 600)[:1536] + b"y" * 512
    assert paths(compared(run(A, step(body=behind)), run(B, step(body=whole[:1536] + b"z" * 512)))) == [
        ("body.broken.sha256", "changed")
    ]
    assert paths(compared(run(A, cut), run(B, step(body=whole)))) == [
        ("body.archive.etc/x.sha256", "changed"),
        ("body.archive.etc/x.there", "missing"),
        ("body.broken", "missing"),
    ]


def test_an_archive_without_contents_is_the_same_to_a_comparison() -> None:
    """As a baseline has it: large files are zeros, and a pax header says what was there."""
    plain = archive(1796119205, text=b"x" * 9000)
    long = io.BytesIO()
    with tarfile.open(fileobj=long, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, text in (("small", b"x"), ("ü" * 200, b"y" * 5000)):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), 1796119205.5
            file.addfile(member, io.BytesIO(text))
    for data in (plain, plain[:3000], long.getvalue()):
        less = without_contents(data, 4096)

        assert less is not None
        assert b"xxx" not in less
        assert b"yyy" not in less
        assert archive_value(less, None) == archive_value(data, None)
        assert archive_value(data, None)["archive"]
        assert without_contents(less, 4096) is None
    assert without_contents(archive(1796119205), 4096) is None


def test_json_in_a_header_is_taken_apart() -> None:
    def stat(**value: Any) -> dict[str, Any]:
        return {
            "headers": {"x-docker-container-path-stat": base64.b64encode(json.dumps(value).encode()).decode()}
        }

    a = step(**stat(name="x", mtime=of(A, "{time}")))
    assert compared(run(A, a), run(B, step(**stat(name="x", mtime=of(B, "{time}"))))) == []
    assert paths(compared(run(A, a), run(B, step(**stat(name="y", mtime=of(B, "{time}")))))) == [
        ("headers.x-docker-container-path-stat.name", "changed")
    ]


def test_the_answer_to_a_websocket_key_must_be_right() -> None:
    def upgraded(key: str, answer: str) -> Any:
        made = step(headers={"sec-websocket-accept": answer})
        made.sent["headers"] = {"Sec-WebSocket-Key": key}
        return made

    a = upgraded("AAAA", accept_key("AAAA"))
    assert compared(run(A, a), run(B, upgraded("BBBB", accept_key("BBBB")))) == []
    assert paths(compared(run(A, a), run(B, upgraded("BBBB", accept_key("AAAA"))))) == [
        ("headers.sec-websocket-accept", "changed")
    ]


def test_images_of_other_scenarios_are_left_out() -> None:
    def listed(side: str, *others: dict[str, Any]) -> Any:
        own = {"Id": of(side, "{digest}")[::-1], "RepoTags": ["busybox:latest"], "ParentId": ""}
        return step(json=[own, *others])

    stranger = {"Id": "sha256:x", "RepoTags": ["other:latest"], "ParentId": ""}
    assert compared(run(A, listed(A)), run(B, listed(B, stranger))) == []
    untagged = {**stranger, "RepoTags": None}
    assert paths(compared(run(A, listed(A)), run(B, listed(B, untagged)))) == [("json.1", "added")]


def test_of_a_step_that_still_runs_only_the_head_is_compared() -> None:
    a, b = step(status=200, stdout="some"), step(status=200, stdout="some more")
    a.complete = b.complete = False
    assert compared(run(A, a), run(B, b)) == []

    a, b = step(status=200, stdout="some"), step(status=404, stdout="some more")
    a.complete = False
    assert paths(compared(run(A, a), run(B, b))) == [("status", "changed")]


# --- messages


def http(**fields: Any) -> Any:
    return step(0, message(1, "GET /v2/ -> 200", hop="registry", **fields))


def test_a_message_is_compared_by_what_it_says() -> None:
    a = http(request_headers={"accept": "x, y", "host": of(A, "{registry}")}, response_json={"a": 1}, response_body='{"a":1}', response_length=7, response_sha256="p")  # fmt: skip
    b = http(request_headers={"accept": "y, x", "host": of(B, "{registry}")}, response_json={"a": 1}, response_body='{"a": 1}', response_length=8, response_sha256="q")  # fmt: skip
    assert compared(run(A, a), run(B, b)) == []

    c = http(request_headers={"accept": "y, x, z", "host": of(B, "{registry}")}, response_json={"a": 2})
    assert paths(compared(run(A, a), run(B, c))) == [
        ("request_headers.accept", "changed"),
        ("response_json.a", "changed"),
    ]


def test_a_body_that_was_cut_is_compared_by_its_digest() -> None:
    a = http(response_body=b"\xff1", response_truncated=True, response_sha256="1" * 64)
    b = http(response_body=b"\xff2", response_truncated=True, response_sha256="2" * 64)

    assert paths(compared(run(A, a), run(A, b))) == []
    wrong = http(response_body=b"\xff2", response_truncated=False, response_sha256="1" * 64)
    assert ("response_truncated", "changed") in paths(compared(run(A, a), run(A, wrong)))


def test_multiplexed_output_in_a_message_is_compared_by_stream() -> None:
    def frames(*parts: bytes) -> Any:
        body = b"".join(b"\1\0\0\0" + len(part).to_bytes(4, "big") + part for part in parts)
        return http(upstream_stream_body=body.decode("latin-1").encode("latin-1"))

    assert compared(run(A, frames(b"ab", b"c")), run(B, frames(b"abc"))) == []
    assert paths(compared(run(A, frames(b"ab", b"c")), run(B, frames(b"abd")))) == [
        ("upstream_stream_body.streams.stdout", "changed")
    ]


def test_a_lease_lasts_a_day() -> None:
    def lease(side: str, day: str) -> Any:
        return step(
            0, message(1, "Leases/Create -> OK", request={"labels": {"containerd.io/gc.expire": day}})
        )

    a = run(A, lease(A, "2026-11-27T00:00:05Z"))
    assert compared(a, run(B, lease(B, "2026-12-02T10:00:05Z"))) == []
    assert paths(compared(a, run(B, lease(B, "2026-12-09T10:00:05Z")))) == [
        ("request.labels.containerd.io/gc.expire", "changed")
    ]


def test_the_network_hook_names_a_controller() -> None:
    def hook(word: str, root: str = "/x") -> Any:
        return step(0, message(1, "create -> 0", hop="runtime", args=["libnetwork-setkey", root, "id", word]))

    assert compared(run(A, hook("0447f1d9fc2b")), run(B, hook("8f10c3884a9c"))) == []
    assert paths(compared(run(A, hook("0447f1d9fc2b")), run(B, hook("8f10c3884a9c", "/y")))) == [
        ("args.1", "changed")
    ]


def test_the_boundary_of_parts_is_nobody_s_business() -> None:
    def parts(boundary: str, text: str) -> Any:
        return step(
            headers={"content-type": f"multipart/byteranges; boundary={boundary}"},
            body=f"--{boundary}\r\n{text}",
        )

    assert compared(run(A, parts("abc", "x")), run(B, parts("xyz", "x"))) == []
    assert paths(compared(run(A, parts("abc", "x")), run(B, parts("xyz", "y")))) == [("body", "changed")]


def test_tls_that_was_no_http_is_random() -> None:
    def hello(noise: bytes) -> Any:
        data = b"\x16\x03\x01\x00\xda\x01" + noise
        return step(
            0,
            message(
                1, "? -> no answer", hop="registry", request_raw=data, error=f"not HTTP: starts with {data!r}"
            ),
        )

    assert compared(run(A, hello(b"\xff\x01")), run(B, hello(b"\xfe\x02\x03"))) == []


def test_the_transcript_is_not_changed() -> None:
    original = run(A, step(0, message(1, "x", a={"b": [1]}), **json_facets({"Id": of(A, "{id}")})))
    before = repr(original.exchanges)

    compared(original, original)

    assert repr(original.exchanges) == before
