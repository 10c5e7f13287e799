import json

import pytest

from sixhops.wire.runtime.document import (
    Cpu,
    CpuAffinity,
    IdMapping,
    IoPriority,
    Namespace,
    Rlimit,
    Scheduler,
    SeccompArgument,
    User,
)
from sixhops.wire.runtime.parse import parse_process, parse_resources, parse_spec
from sixhops.wire.runtime.reader import SpecError


def test_spec_whole_document():
    spec = parse_spec(
        json.dumps(
            {
                "ociVersion": "1.0.2-dev",
                "root": {"path": "rootfs", "readonly": True},
                "hostname": "box",
                "process": {
                    "args": ["/hello"],
                    "cwd": "/",
                    "user": {"uid": 1, "gid": 2, "additionalGids": [0, 7]},
                    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 18446744073709551615}],
                    "consoleSize": {"height": 24, "width": 80},
                },
                "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}],
                "linux": {
                    "namespaces": [{"type": "mount"}, {"type": "network", "path": "/run/netns/x"}],
                    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
                    "seccomp": {
                        "defaultAction": "SCMP_ACT_ERRNO",
                        "syscalls": [
                            {
                                "names": ["clone"],
                                "action": "SCMP_ACT_ALLOW",
                                "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}],
                            }
                        ],
                    },
                },
            }
        )
    )

    assert spec.root_readonly
    assert spec.process is not None
    assert spec.process.user == User(1, 2, None, (0, 7))
    assert spec.process.rlimits == (Rlimit("RLIMIT_NOFILE", 1, 2**64 - 1),)
    assert spec.process.console_size == (24, 80)
    assert spec.mounts[0].options == ("nosuid",)
    assert spec.linux.namespaces == (Namespace("mount"), Namespace("network", "/run/netns/x"))
    assert spec.linux.uid_mappings == (IdMapping(0, 1000, 10),)
    assert spec.linux.seccomp is not None
    assert spec.linux.seccomp.rules[0].arguments == (SeccompArgument(0, 2114060288, 0, "SCMP_CMP_MASKED_EQ"),)


def test_absent_and_null_members_are_defaults():
    spec = parse_spec('{"process": null, "linux": {"resources": {"memory": {"limit": null}}}}')

    assert spec.process is None
    assert spec.root_path is None
    assert spec.linux.resources.memory.limit is None


def test_unknown_members_are_ignored():
    assert parse_process('{"args": ["x"], "future": {"a": 1}}').args == ("x",)


def test_only_the_first_value_counts():
    assert parse_spec("{} trailing").process is None


def test_resources_document():
    resources = parse_resources('{"cpu": {"shares": 512, "quota": -1}, "pids": {"limit": 7}}')

    assert resources.cpu == Cpu(shares=512, quota=-1)
    assert resources.pids_limit == 7


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            '{"process": {"args": "x"}}',
            "process.args",
            "json: cannot unmarshal string into Go struct field Process.process.args of type []string",
        ),
        (
            '{"process": {"user": {"uid": -1}}}',
            "process.user.uid",
            "json: cannot unmarshal number -1 into Go struct field User.process.user.uid of type uint32",
        ),
        (
            '{"process": {"user": {"uid": "x"}}}',
            "process.user.uid",
            "json: cannot unmarshal string into Go struct field User.process.user.uid of type uint32",
        ),
        (
            '{"linux": {"namespaces": {}}}',
            "linux.namespaces",
            "json: cannot unmarshal object into Go struct field Linux.linux.namespaces of type []specs.LinuxNamespace",
        ),
        (
            '{"process": {"rlimits": [{"type": "RLIMIT_NOFILE"}, {"soft": true}]}}',
            "process.rlimits[1].soft",
            "json: cannot unmarshal bool into Go struct field POSIXRlimit.process.rlimits.soft of type uint64",
        ),
        ("[]", "", "json: cannot unmarshal array into Go value of type specs.Spec"),
        ("", "", "EOF"),
        ("{", "", "unexpected EOF"),
        ('{"a": tru}', "", "invalid character '}' in literal true (expecting 'e')"),
        ("root:x", "", "invalid character 'r' looking for beginning of value"),
        ('{"a": 1 "b"}', "", "invalid character '\"' after object key:value pair"),
        ('{"a": [1 2]}', "", "invalid character '2' after array element"),
        ('{"a" 1}', "", "invalid character '1' after object key"),
        ("[" * 100_000, "", "invalid character '[' exceeded max depth"),
    ],
)
def test_errors_name_path_and_type(text, path, message):
    with pytest.raises(SpecError) as caught:
        parse_spec(text)

    assert str(caught.value) == message
    assert caught.value.path == path


def test_ten_thousand_levels_are_read():
    deep = '{"a":' * 9_999 + "1" + "}" * 9_999

    assert parse_spec(f'{{"hostname": "h", "deep": {deep}}}').hostname == "h"


def test_brackets_inside_strings_are_no_levels():
    assert parse_spec('{"hostname": "h", "x": "%s"}' % ("[" * 20_000)).hostname == "h"


def test_scheduling_of_the_process():
    process = parse_process(
        """{"scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 3}, "execCPUAffinity": {"initial": "0-1", "final": "0"}}"""
    )

    assert process.scheduler == Scheduler("SCHED_BATCH", nice=5, flags=("SCHED_FLAG_RESET_ON_FORK",))
    assert process.io_priority == IoPriority("IOPRIO_CLASS_IDLE", 3)
    assert process.exec_cpu_affinity == CpuAffinity("0-1", "0")
