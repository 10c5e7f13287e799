"""What is refused, in which words; and the small pure parts: options, signals, environment, program search, sizes."""

import json
import os

import pytest

from sixhops.runc.cli.commands import COMMANDS
from sixhops.runc.cli.options import FLAG, LIST, NUMBER, NUMBERS, VALUE, parse, parse_duration
from sixhops.runc.cli.signals import parse_signal
from sixhops.runc.cli.template import template
from sixhops.runc.cli.update import parse_size, resources_from_options
from sixhops.runc.cli.usage import command_usage
from sixhops.runc.errors import RuntimeFault, UsageFault
from sixhops.runc.inside.filters import check_filter, compile_document
from sixhops.runc.inside.identity import environment, find_program
from sixhops.runc.inside.validate import validate
from sixhops.runc.lifecycle.state import check_identifier
from sixhops.values import replace
from sixhops.wire.runtime.document import (
    CpuAffinity,
    Device,
    DeviceRule,
    IdMapping,
    IntelRdt,
    IoPriority,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Scheduler,
    Seccomp,
    SeccompArgument,
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
    return replace(GOOD, linux=replace(GOOD.linux, **changes))


def process(**changes):
    return replace(GOOD, process=replace(GOOD.process, **changes))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(GOOD, process=None), "process property must not be empty"),
        (replace(GOOD, root_path=None), "root must be specified"),
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
        (
            linux(resources=Resources(devices=(DeviceRule(allow=True),))),
            "device access at 0 field cannot be empty",
        ),
        (
            linux(resources=Resources(devices=(DeviceRule(allow=True, type="z", access="r"),))),
            'invalid cgroup device type "z"',
        ),
        (
            linux(intel_rdt=IntelRdt(l3_cache_schema="L3:0=f")),
            "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled",
        ),
        (
            linux(intel_rdt=IntelRdt(memory_bandwidth_schema="MB:0=50")),
            "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled",
        ),
        (linux(intel_rdt=IntelRdt(clos_id="a/b")), 'invalid intelRdt.ClosID "a/b"'),
        (
            replace(GOOD, mounts=(Mount("/x", "tmpfs", "a\0b", ("ro",)),)),
            (
                "invalid mount {Destination:/x Type:tmpfs Source:a\0b Options:[ro] UIDMappings:[] GIDMappings:[]}: "
                "mount field contains null byte"
            ),
        ),
        (
            linux(
                namespaces=(Namespace("mount"), Namespace("user")),
                uid_mappings=(IdMapping(5, 1000, 1),),
                gid_mappings=(IdMapping(0, 1000, 1),),
            ),
            "User namespaces enabled, but no user mapping found.",
        ),
        (process(scheduler=Scheduler("SCHED_X")), "invalid scheduler policy: SCHED_X"),
        (process(scheduler=Scheduler("SCHED_OTHER", flags=("F",))), "invalid scheduler flag: F"),
        (process(scheduler=Scheduler("SCHED_OTHER", nice=20)), "invalid scheduler nice: 20"),
        (process(io_priority=IoPriority("X")), "invalid ioPriority.Class: X"),
        (process(io_priority=IoPriority("IOPRIO_CLASS_BE", 8)), "invalid ioPriority.Priority: 8"),
        (process(exec_cpu_affinity=CpuAffinity("3-1")), "invalid execCPUAffinity: invalid range: 3-1"),
        (
            linux(sysctl={"net/ipv4/conf/eth0.5/x": "1"}),
            'sysctl "net.ipv4.conf.eth0/5.x" not allowed in host network namespace',
        ),
        (linux(rootfs_propagation="foo"), "rootfsPropagation=foo is not supported"),
        (linux(sysctl={"foo.bar": "1"}), 'sysctl "foo.bar" is not in a separate kernel namespace'),
        (linux(sysctl={"net.x": "1"}), 'sysctl "net.x" not allowed in host network namespace'),
        (replace(GOOD, hostname="h"), "unable to set hostname without a private UTS namespace"),
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


def test_linked_rootfs(tmp_path):
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "link").symlink_to("rootfs")

    with pytest.raises(RuntimeFault, match=r"^invalid rootfs: not an absolute path, or a symlink$"):
        validate(GOOD, str(tmp_path / "link"))


def test_private_root_needs_pivot_root(tmp_path):
    with pytest.raises(RuntimeFault, match=r"is not safe without pivot_root$"):
        validate(linux(rootfs_propagation="private"), str(tmp_path), pivot=False)


def test_network_namespace_of_the_host_has_the_hosts_settings(tmp_path):
    namespaces = (Namespace("mount"), Namespace("network", "/proc/self/ns/net"))

    with pytest.raises(RuntimeFault, match=r"not allowed in host network namespace$"):
        validate(linux(namespaces=namespaces, sysctl={"net.x": "1"}), str(tmp_path))


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


OPTIONS = {"bundle": VALUE, "env": LIST, "detach": FLAG, "fds": NUMBER, "groups": NUMBERS}
SHORT = {"b": "bundle", "e": "env", "d": "detach", "g": "groups"}


def test_flag_that_is_denied():
    parsed = parse(["--detach=false"], OPTIONS, SHORT)

    assert (parsed.flags, parsed.denied) == (set(), {"detach"})


def test_options_in_every_spelling():
    parsed = parse(["-b", "x", "--env=A=1", "-env", "B=2", "-detach", "id", "--env", "C"], OPTIONS, SHORT)

    assert parsed.values == {"bundle": "x"}
    assert parsed.lists == {"env": ["A=1", "B=2"]}
    assert parsed.flags == {"detach"}
    assert parsed.arguments == ["id", "--env", "C"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no"], "flag provided but not defined: -no"),
        (["-b"], "flag needs an argument: -b"),
        (["-e", "A", "--env", "B"], "Cannot use two forms of the same flag: e env"),
        (["--detach=x"], 'invalid boolean value "x" for -detach: parse error'),
        (["--fds", "x"], 'invalid value "x" for flag -fds: parse error'),
        (["-g", "x"], 'invalid value "x" for flag -g: strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_wrong_options(words, message):
    with pytest.raises(UsageFault) as caught:
        parse(words, OPTIONS, SHORT, "create")

    assert str(caught.value) == message


def test_environment_keeps_first_place_and_last_value():
    assert list(environment(("A=1", "B=2", "A=3")).items()) == [("A", "3"), ("B", "2")]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("FOO", 'invalid environment variable: "FOO"'),
        ("=x", 'environment variable name can\'t be empty: "=x"'),
    ],
)
def test_environment_without_a_name(entry, message):
    with pytest.raises(RuntimeFault) as caught:
        environment((entry,))

    assert str(caught.value) == message


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


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("0", 0), ("-1s", -1)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "x", "1m30", "-"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Seccomp("SCMP_ACT_FOO"), "string SCMP_ACT_FOO is not a valid action for seccomp"),
        (Seccomp("SCMP_ACT_ALLOW", architectures=("X",)), "string X is not a valid arch for seccomp"),
        (Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("write",), "SCMP_ACT_NOTIFY"),)), "write syscall"),
        (
            Seccomp("SCMP_ACT_NOTIFY"),
            "unable to init seccomp: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("mkdir",), ""),)), "string  is not a valid action"),
        (
            Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("",), "SCMP_ACT_LOG"),)),
            "empty string is not a valid",
        ),
        (
            Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("mkdir",), "SCMP_ACT_NOTIFY"),)),
            "listenerPath is not set",
        ),
        (
            Seccomp(
                "SCMP_ACT_ALLOW",
                rules=(
                    SeccompRule(("mkdir",), "SCMP_ACT_LOG", None, (SeccompArgument(9, 1, 0, "SCMP_CMP_EQ"),)),
                ),
            ),
            r"for syscall mkdir: syscalls only have up to 6 arguments \(9 given\)",
        ),
    ],
)
def test_filter_words(document, message):
    with pytest.raises(RuntimeFault, match=message):
        check_filter(document)


def test_filter_that_says_nothing_is_none():
    assert check_filter(None) is None
    assert check_filter(Seccomp("")) is None


def test_compiled_filter_is_remembered():
    document = Seccomp("SCMP_ACT_ALLOW", rules=(SeccompRule(("ptrace",), "SCMP_ACT_ERRNO"),))

    assert compile_document(document) is compile_document(document)


def test_template_is_a_valid_document(tmp_path):
    spec = parse_spec(json.dumps(template()))

    validate(spec, str(tmp_path))
    assert spec.process is not None
    assert spec.process.args == ("sh",)


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_explains_every_option(name):
    text = command_usage(name)

    assert text.startswith(f"NAME:\n   runc {name} - ")
    assert all(f"--{option}" in text for option in COMMANDS[name][0])
