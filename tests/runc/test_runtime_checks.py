"""What is refused, in which words; and the small pure parts: options, signals, environment, program search, sizes."""

import dataclasses
import json
import os

import pytest

from sixhops.runc.errors import RuntimeFault, UsageFault
from sixhops.runc.events import parse_interval
from sixhops.runc.filters import check_filter, compile_document
from sixhops.runc.identity import environment, find_program
from sixhops.runc.options import FLAG, LIST, VALUE, parse
from sixhops.runc.signals import parse_signal
from sixhops.runc.state import check_identifier
from sixhops.runc.template import template
from sixhops.runc.update import parse_size, resources_from_options
from sixhops.runc.validate import validate
from sixhops.wire.runtime.document import (
    Device,
    Linux,
    Namespace,
    Process,
    Rlimit,
    Seccomp,
    SeccompRule,
    Spec,
)
from sixhops.wire.runtime.parse import parse_spec

GOOD = Spec(
    process=Process(args=("/x",), cwd="/"),
    root_path="rootfs",
    linux=Linux(namespaces=(Namespace("mount"), Namespace("pid"))),
)


def linux(**changes):
    return dataclasses.replace(GOOD, linux=dataclasses.replace(GOOD.linux, **changes))


def process(**changes):
    return dataclasses.replace(GOOD, process=dataclasses.replace(GOOD.process, **changes))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (dataclasses.replace(GOOD, process=None), "process property must not be empty"),
        (dataclasses.replace(GOOD, root_path=None), "root must be specified"),
        (process(cwd=""), "Cwd property must not be empty"),
        (process(cwd="rel"), "Cwd must be an absolute path"),
        (process(args=()), "args must not be empty"),
        (process(rlimits=(Rlimit("RLIMIT_FOO", 1, 1),)), "wrong rlimit value: RLIMIT_FOO"),
        (linux(namespaces=(Namespace("foo"),)), 'namespace {"foo" ""} does not exist'),
        (
            linux(namespaces=(Namespace("pid"), Namespace("pid"))),
            'malformed spec file: duplicated ns {"pid" ""}',
        ),
        (linux(devices=(Device("/dev/x", "q"),)), 'invalid device type "q"'),
        (linux(rootfs_propagation="foo"), "rootfsPropagation=foo is not supported"),
        (linux(sysctl={"foo.bar": "1"}), 'sysctl "foo.bar" is not in a separate kernel namespace'),
        (linux(sysctl={"net.x": "1"}), 'sysctl "net.x" not allowed in host network namespace'),
        (dataclasses.replace(GOOD, hostname="h"), "unable to set hostname without a private UTS namespace"),
        (
            linux(namespaces=(Namespace("mount"), Namespace("user"))),
            "User namespaces enabled, but no uid mappings found.",
        ),
    ],
)
def test_refusals(spec, message, tmp_path):
    with pytest.raises(RuntimeFault) as caught:
        validate(spec, str(tmp_path))

    assert str(caught.value) == message


def test_good_document_is_accepted(tmp_path):
    validate(GOOD, str(tmp_path))


def test_missing_rootfs(tmp_path):
    with pytest.raises(RuntimeFault, match=r"^invalid rootfs: stat .*/none: no such file or directory$"):
        validate(GOOD, str(tmp_path / "none"))


def test_host_root_is_no_rootfs():
    with pytest.raises(RuntimeFault, match=r"the host's root"):
        validate(GOOD, "/")


@pytest.mark.parametrize("identifier", ["..", ".", "a/b", "a b", "ä"])
def test_bad_identifiers(identifier):
    with pytest.raises(RuntimeFault, match=r"^invalid container ID format$"):
        check_identifier(identifier)


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigurg", 23), ("-1", -1)]
)
def test_signals(text, number):
    assert parse_signal(text) == number


def test_unknown_signal():
    with pytest.raises(RuntimeFault, match=r'^unknown signal "RTMIN\+1"$'):
        parse_signal("RTMIN+1")


OPTIONS = {"bundle": VALUE, "env": LIST, "detach": FLAG}
SHORT = {"b": "bundle", "e": "env", "d": "detach"}


def test_options_in_every_spelling():
    parsed = parse(["-b", "x", "--env=A=1", "-e", "B=2", "-detach", "id", "--env", "C"], OPTIONS, SHORT)

    assert parsed.values == {"bundle": "x"}
    assert parsed.lists == {"env": ["A=1", "B=2"]}
    assert parsed.flags == {"detach"}
    assert parsed.arguments == ["id", "--env", "C"]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--no"], "flag provided but not defined: -no"), (["-b"], "flag needs an argument: -b")],
)
def test_wrong_options(words, message):
    with pytest.raises(UsageFault) as caught:
        parse(words, OPTIONS, SHORT, "create")

    assert str(caught.value) == message


def test_environment_keeps_first_place_and_last_value():
    assert list(environment(("A=1", "B=2", "A=3")).items()) == [("A", "3"), ("B", "2")]


@pytest.mark.parametrize("entry", ["FOO", "=x"])
def test_environment_without_a_name(entry):
    with pytest.raises(RuntimeFault, match=f'^invalid environment variable: "{entry}"$'):
        environment((entry,))


def test_environment_with_a_null():
    with pytest.raises(RuntimeFault) as caught:
        environment(("FOO=a\0b",))

    assert str(caught.value) == 'environment variable value can\'t contain null(\\x00): "FOO=a\\x00b"'


@pytest.fixture
def programs(tmp_path):
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "plain").write_text("")
    (tmp_path / "plain").chmod(0o644)
    return tmp_path


def test_program_on_the_path(programs):
    assert find_program("tool", f"/nonexistent:{programs}") == f"{programs}/tool"


@pytest.mark.parametrize("name", ["nosuchcmd", "plain", ""])
def test_program_not_on_the_path(programs, name):
    with pytest.raises(RuntimeFault) as caught:
        find_program(name, str(programs))

    assert str(caught.value) == f'exec: "{name}": executable file not found in $PATH'


def test_program_by_path(programs):
    with pytest.raises(RuntimeFault) as caught:
        find_program("/nosuch/x", "")
    assert str(caught.value) == 'exec: "/nosuch/x": stat /nosuch/x: no such file or directory'
    with pytest.raises(RuntimeFault, match=r"permission denied$"):
        find_program(str(programs / "plain"), "")
    with pytest.raises(RuntimeFault, match=r"permission denied$"):
        find_program(str(programs), "")
    assert find_program(os.fspath(programs / "tool"), "") == os.fspath(programs / "tool")


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("64k", 65536), ("100M", 104857600), ("1.5GiB", 1610612736)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


def test_update_options():
    resources = resources_from_options(
        {"memory": "64m", "memory-swap": "-1", "cpu-share": "512", "pids-limit": "7"}
    )

    assert (resources.memory.limit, resources.memory.swap) == (67108864, -1)
    assert (resources.cpu.shares, resources.pids_limit) == (512, 7)


def test_update_option_that_is_no_size():
    with pytest.raises(RuntimeFault, match=r"^invalid value for memory: invalid size: 'abc'$"):
        resources_from_options({"memory": "abc"})


def test_intervals():
    assert parse_interval("1m30s") == 90
    with pytest.raises(RuntimeFault):
        parse_interval("5 s")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Seccomp("SCMP_ACT_FOO"), "string SCMP_ACT_FOO is not a valid action for seccomp"),
        (Seccomp("SCMP_ACT_ALLOW", architectures=("X",)), "string X is not a valid arch for seccomp"),
        (Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("write",), "SCMP_ACT_NOTIFY"),)), "write syscall"),
        (Seccomp("SCMP_ACT_NOTIFY"), "default action"),
    ],
)
def test_filter_words(document, message):
    with pytest.raises(RuntimeFault, match=message):
        check_filter(document)


def test_compiled_filter_is_remembered():
    document = Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("ptrace",), "SCMP_ACT_ERRNO"),))

    assert compile_document(document) is compile_document(document)


def test_template_is_a_valid_document(tmp_path):
    spec = parse_spec(json.dumps(template()))

    validate(spec, str(tmp_path))
    assert spec.process is not None
    assert spec.process.args == ("sh",)
