"""Small parsers and printers: ports, image names, networks, sizes, times, columns, keys, progress."""

from __future__ import annotations

import json
import os
import time

import pytest

from sixhops.docker import reference
from sixhops.docker.documents import hostspec, networks, ports
from sixhops.docker.documents.containerbody import build
from sixhops.docker.documents.containerflags import CONTAINER_FLAGS
from sixhops.docker.errors import DockerError
from sixhops.docker.flags import parse
from sixhops.docker.screen import gotime, human, progress, table, terminal


@pytest.mark.parametrize(
    ("text", "port", "binding"),
    [
        ("80", "80/tcp", ("", "")),
        ("8080:80", "80/tcp", ("", "8080")),
        ("127.0.0.1:8080:80/udp", "80/udp", ("127.0.0.1", "8080")),
        ("127.0.0.1::80", "80/tcp", ("127.0.0.1", "")),
        ("[::1]:80:81", "81/tcp", ("::1", "80")),
        ("8000-8010:80", "80/tcp", ("", "8000-8010")),
        ("target=80,published=8080,protocol=udp", "80/udp", ("", "8080")),
    ],
)
def test_published_ports(text, port, binding):
    exposed, bindings = ports.published([text])

    assert exposed == {port: {}}
    assert bindings == {port: [{"HostIp": binding[0], "HostPort": binding[1]}]}


def test_ranges_of_ports_go_side_by_side():
    _, bindings = ports.published(["8000-8002:80-82"])

    assert {port: b[0]["HostPort"] for port, b in bindings.items()} == {
        "80/tcp": "8000",
        "81/tcp": "8001",
        "82/tcp": "8002",
    }


@pytest.mark.parametrize("text", ["a", "70000:1", "1-2:3-5", "1:2/foo", ":", "300.0.0.1:1:2", "target"])
def test_ports_that_are_refused(text):
    with pytest.raises(DockerError):
        ports.published([text + ("=" if text == "target" else "")])


@pytest.mark.parametrize(
    ("text", "familiar", "full"),
    [
        ("hello-world", "hello-world:latest", "docker.io/library/hello-world:latest"),
        ("a/b:c", "a/b:c", "docker.io/a/b:c"),
        ("localhost/b", "localhost/b:latest", "localhost/b:latest"),
        ("127.0.0.1:5000/b", "127.0.0.1:5000/b:latest", "127.0.0.1:5000/b:latest"),
        ("index.docker.io/library/x", "x:latest", "docker.io/library/x:latest"),
        ("x@sha256:" + "0" * 64, "x@sha256:" + "0" * 64, "docker.io/library/x@sha256:" + "0" * 64),
    ],
)
def test_image_names(text, familiar, full):
    name = reference.parse(text).tagged()

    assert (name.familiar, name.full) == (familiar, full)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Foo", "invalid reference format: repository name must be lowercase"),
        ("a:b:c", "invalid reference format"),
        ("", "invalid reference format"),
        ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_names_that_are_none(text, message):
    with pytest.raises(DockerError) as caught:
        reference.parse(text)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (150, "2 minutes"),
        (3600, "About an hour"), (4 * 3600, "4 hours"), (50 * 3600, "2 days"), (15 * 86400, "2 weeks"),
        (70 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans_in_words(seconds, words):
    assert human.duration(seconds) == words


def test_sizes():
    assert [human.decimal_size(n, 3) for n in (0, 999, 1000, 762_000, 1_980_000)] == [
        "0B",
        "999B",
        "1kB",
        "762kB",
        "1.98MB",
    ]
    assert human.binary_size(25_275_000_000) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2013-01-02T13:23:37.5Z", "1357133017.500000000"), ("1357133017.5", "1357133017.5"), ("0", "0"),
        ("20200201", "20200201"), ("2020-02-01Z", "1580515200.000000000"), ("2020-02-01T1Z", "1580518800.000000000"),
        ("2020-02-01T10:30+02:00", "1580545800.000000000"), ("2020-02-01-02:00", "1580522400.000000000"),
        ("2020-02-01T10:00:00+25:00", "1580461200.000000000"), ("0000-01-01Z", "-62167219200.000000000"),
    ],
)  # fmt: skip
def test_times_for_since_and_until(text, seconds):
    assert gotime.timestamp(text) == seconds


def test_a_span_for_since_counts_from_now():
    assert abs(int(gotime.timestamp("10m")) - (time.time() - 600)) < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", 'failed to parse value as time or duration: "yesterday"'),
        ("1.2.3", 'failed to parse value as time or duration: "1.2.3"'),
        ("99999999999999999999", 'failed to parse value as time or duration: "99999999999999999999"'),
        ("-5", 'parsing time "-5" as "2006-01-02": cannot parse "-5" as "2006"'),
        ("2020-2-1", 'parsing time "2020-2-1" as "2006-01-02": cannot parse "2-1" as "01"'),
        ("2020-13-01", 'parsing time "2020-13-01": month out of range'),
        ("2020-02-30", 'parsing time "2020-02-30": day out of range'),
        ("2020-02-01T24", 'parsing time "2020-02-01T24": hour out of range'),
        ("2020-02-01 10", 'parsing time "2020-02-01 10": extra text: " 10"'),
        ("2020-02-01+0200", 'parsing time "2020-02-01+0200" as "2006-01-02Z07:00": cannot parse "+0200" as "Z07:00"'),
    ],
)  # fmt: skip
def test_times_that_are_none(text, message):
    with pytest.raises(ValueError) as caught:
        gotime.timestamp(text)

    assert str(caught.value) == message


def test_columns_are_as_wide_as_their_longest_cell_and_three_more():
    assert (
        table.align("A\tB\tC\nlonger text\tx\tyy\n")
        == "A             B         C\nlonger text   x         yy\n"
    )


def test_detach_keys_across_reads_and_when_they_break_off():
    keys = terminal.DetachKeys(terminal.key_bytes("ctrl-p,ctrl-q"))

    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"c") == (b"\x10c", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11rest") == (b"", True)


@pytest.mark.parametrize("text", ["ctrl-", "ab", "ctrl-P1", "", "ctrl-ä"])
def test_keys_that_are_none(text):
    with pytest.raises(ValueError, match="Unknown character"):
        terminal.key_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,src=/a,dst=/b,ro", {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}),
        ("dst=/b", {"Type": "volume", "Target": "/b"}),
        ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=700",
         {"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}),
    ],
)  # fmt: skip
def test_mounts(text, expected):
    assert hostspec.mount(text) == expected


@pytest.mark.parametrize(
    "text", ["foo", "type=bind", "type=bind,target=/a,foo=bar", "type=tmpfs,target=/a,volume-nocopy"]
)
def test_mounts_that_are_refused(text):
    with pytest.raises(ValueError):
        hostspec.mount(text)


def test_progress_without_a_terminal_leaves_bars_out():
    reading, writing = os.pipe()
    lines = [
        {"status": "Pulling from library/x", "id": "latest"},
        {
            "status": "Downloading",
            "id": "aa",
            "progressDetail": {"current": 5, "total": 10},
            "progress": "[=>  ]",
        },
        {"status": "Pull complete", "id": "aa", "progressDetail": {}},
        {"status": "Digest: sha256:0"},
    ]
    data = b"".join(json.dumps(line).encode() + b"\r\n" for line in lines)

    progress.show([data[:30], data[30:]], writing)
    os.close(writing)

    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"latest: Pulling from library/x\naa: Pull complete\nDigest: sha256:0\n"


def test_progress_ends_with_the_engines_error():
    data = json.dumps({"errorDetail": {"message": "no space"}, "error": "no space"}).encode()

    with pytest.raises(DockerError, match=r"^no space$"):
        progress.show([data], 1)


def body(*arguments):
    return build(parse(CONTAINER_FLAGS, [*arguments, "image", "-c"], anywhere=False), "linux", {})


def test_create_document_of_a_plain_run():
    document = body()

    assert (document["Image"], document["Cmd"], document["Env"]) == ("image", ["-c"], None)
    assert (document["AttachStdin"], document["AttachStdout"], document["OpenStdin"]) == (False, True, False)
    assert document["HostConfig"]["NetworkMode"] == "default"
    assert document["NetworkingConfig"] == {"EndpointsConfig": {}}


@pytest.mark.parametrize(
    ("arguments", "key", "expected"),
    [
        (["-m", "64m"], "Memory", 64 << 20),
        (["--cpus", "1.5"], "NanoCpus", 1_500_000_000),
        (["--restart", "on-failure:3"], "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
        (["-v", "/a:/b:ro", "-v", "/c"], "Binds", ["/a:/b:ro"]),
        (["--tmpfs", "/t:size=1m"], "Tmpfs", {"/t": "size=1m"}),
        (["--security-opt", "apparmor:x"], "SecurityOpt", ["apparmor:x"]),
        (["--device", "/dev/a:/dev/b:r"], "Devices",
         [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]),
        (["--init"], "Init", True),
        (["--network", "n1", "--network-alias", "x"], "NetworkMode", "n1"),
    ],
)  # fmt: skip
def test_host_config(arguments, key, expected):
    assert body(*arguments)["HostConfig"][key] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rm", "--restart", "always"], ["--memory-swappiness", "101"], ["--pid", "x"],
        ["--no-healthcheck", "--health-cmd", "a"],
        ["--network", "a", "--network", "host"], ["--network", "a", "--network", "a"], ["--env-file", "/nowhere"],
        ["--security-opt", "x"], ["--device", "/dev/a:b:c:d"], ["--mac-address", "x"],
        ["--log-driver", "none", "--log-opt", "a"],
    ],
)  # fmt: skip
def test_options_that_contradict_one_another(arguments):
    with pytest.raises(DockerError):
        body(*arguments)


def test_network_with_fields():
    assert networks.attachment("name=n,alias=a,driver-opt=k=v") == networks.Attachment("n", ["a"], {"k": "v"})
