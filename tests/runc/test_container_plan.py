"""The order of operations, read from the plan: no root, no container."""

import pytest

from sixhops.linux import mounts as m
from sixhops.linux.cgroups.layout import Hierarchy, Layout
from sixhops.runc.inside import operations as op
from sixhops.runc.inside.mount_options import MountOptions, parse
from sixhops.runc.inside.plan import plan_container
from sixhops.values import replace
from sixhops.wire.runtime.document import Linux, Mount, Namespace, Process, Spec

MEMORY = Hierarchy(("memory",), "/sys/fs/cgroup/memory", "/", "/")
BOTH = Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/", "/")
HYBRID = Layout((MEMORY, BOTH), None)
UNIFIED = Layout((), Hierarchy((), "/sys/fs/cgroup", "/", "/"))
GROUPS = {"memory": "/g/memory", "cpu": "/g/cpu", "cpuacct": "/g/cpu", "": "/g"}

SPEC = Spec(
    version="1.0.2",
    process=Process(args=("/hello",), cwd="/work"),
    root_path="rootfs",
    hostname="box",
    mounts=(
        Mount("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755")),
        Mount("/etc/hosts", "bind", "/host/hosts", ("rbind", "rprivate")),
    ),
    linux=Linux(
        namespaces=tuple(Namespace(kind) for kind in ("mount", "network", "uts", "pid", "ipc")),
        sysctl={"net.ipv4.ip_forward": "1"},
        masked_paths=("/proc/kcore",),
        readonly_paths=("/proc/sys",),
    ),
)


def plan(spec=SPEC, layout=HYBRID, **changes):
    return plan_container(spec, "x", "/rootfs", layout, GROUPS, **changes)


def kinds(operations):
    return [type(operation).__name__ for operation in operations]


def test_order_of_a_plain_container():
    seen = list(dict.fromkeys(kinds(plan())))

    assert seen == [
        "JoinKeyring",
        "LoopbackUp",
        "PropagateRoot",
        "BindRoot",
        "MountFilesystem",
        "BindMount",
        "MakeDevice",
        "MakeLink",
        "MakeDirectory",
        "ParentStep",
        "RunContainerHooks",
        "WriteSysctl",
        "ReadOnlyPath",
        "MaskPath",
        "ChangeRoot",
        "SetHostname",
    ]


def test_nothing_is_restricted_before_the_hooks_and_nothing_mounted_after_the_root_changed():
    seen = kinds(plan(replace(SPEC, root_readonly=True)))

    hooks, root = seen.index("RunContainerHooks"), seen.index("ChangeRoot")
    assert all(
        hooks < seen.index(kind) < root
        for kind in ("WriteSysctl", "ReadOnlyPath", "MaskPath", "ReadOnlyRoot")
    )
    assert seen[root + 1 :] == ["SetHostname"]


def test_root_is_cut_off_before_anything_is_mounted():
    assert op.PropagateRoot(m.MS_SLAVE | m.MS_REC) in plan()
    shared = replace(SPEC, linux=replace(SPEC.linux, rootfs_propagation="shared"))
    assert op.PropagateRoot(m.MS_SHARED) in plan(shared)


def test_default_devices_and_links():
    made = {o.target: (o.major, o.minor, o.mode) for o in plan() if isinstance(o, op.MakeDevice)}

    assert made["/dev/null"] == (1, 3, 0o666)
    assert len(made) == 6
    assert op.MakeLink("/dev/ptmx", "pts/ptmx", replace=True) in plan()


def test_host_dev_is_left_alone():
    bound = replace(SPEC, mounts=(Mount("/dev", "bind", "/dev", ("rbind",)),))

    assert not {"MakeDevice", "MakeLink"} & set(kinds(plan(bound)))


def test_user_namespace_binds_devices():
    user = replace(SPEC, linux=replace(SPEC.linux, namespaces=(*SPEC.linux.namespaces, Namespace("user"))))

    assert all(o.bind for o in plan(user) if isinstance(o, op.MakeDevice))


def test_joined_network_is_left_as_it_is():
    joined = replace(
        SPEC,
        linux=replace(SPEC.linux, namespaces=(Namespace("mount"), Namespace("network", "/n"))),
    )

    assert "LoopbackUp" not in kinds(plan(joined))


@pytest.mark.parametrize(("changes", "manner"), [({}, "pivot"), ({"pivot": False}, "move")])
def test_manner_of_changing_the_root(changes, manner):
    assert op.ChangeRoot(manner) in plan(**changes)


def test_without_a_mount_namespace_only_the_root_changes():
    bare = Spec(process=SPEC.process, root_path="rootfs", linux=Linux(namespaces=(Namespace("pid"),)))

    assert kinds(plan(bare)) == ["JoinKeyring", "ParentStep", "RunContainerHooks", "ChangeRoot"]
    assert op.ChangeRoot("chroot") in plan(bare)


def test_terminal_is_opened_after_the_hooks():
    terminal = replace(SPEC, process=Process(args=("sh",), cwd="/", terminal=True, console_size=(24, 80)))
    operations = plan(terminal)

    assert operations[kinds(operations).index("RunContainerHooks") + 1] == op.OpenConsole(24, 80)


def test_control_groups_version_1():
    spec = replace(SPEC, mounts=(Mount("/sys/fs/cgroup", "cgroup", "cgroup", ("ro",)),))

    (mount,) = [o for o in plan(spec) if isinstance(o, op.MountGroups)]

    assert mount.hierarchies == (
        ("memory", "/g/memory", "memory", ()),
        ("cpu,cpuacct", "/g/cpu", "cpu,cpuacct", ("cpu", "cpuacct")),
    )


@pytest.mark.parametrize(
    ("namespaces", "shown"),
    [
        ((), op.MountFilesystem("cgroup2", "cgroup", "/sys/fs/cgroup", MountOptions(flags=m.MS_RDONLY))),
        (
            ("cgroup",),
            op.MountFilesystem("cgroup2", "cgroup", "/sys/fs/cgroup", MountOptions(flags=m.MS_RDONLY)),
        ),
        (
            ("user", "cgroup"),
            op.MountFilesystem("cgroup2", "cgroup", "/sys/fs/cgroup", MountOptions(flags=m.MS_RDONLY)),
        ),
        # the kernel refuses it there
        (
            ("user",),
            op.BindMount("/sys/fs/cgroup", "/sys/fs/cgroup", MountOptions(flags=m.MS_RDONLY | m.MS_BIND)),
        ),
    ],
)
def test_control_groups_version_2(namespaces, shown):
    linux = replace(
        SPEC.linux, namespaces=(*SPEC.linux.namespaces, *(Namespace(kind) for kind in namespaces))
    )
    spec = replace(SPEC, linux=linux, mounts=(Mount("/sys/fs/cgroup", "cgroup", "cgroup", ("ro",)),))

    assert shown in plan(spec, UNIFIED)


def test_read_only_tmpfs_is_filled_before_it_is_closed():
    spec = replace(SPEC, mounts=(Mount("/dev", "tmpfs", "tmpfs", ("ro", "nosuid")),))
    seen = plan(spec)

    assert kinds(seen).index("MakeDevice") < kinds(seen).index("RemountReadOnly")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ro", "nosuid"), MountOptions(flags=m.MS_RDONLY | m.MS_NOSUID)),
        (("ro", "rw"), MountOptions()),
        (("rbind", "rslave"), MountOptions(flags=m.MS_BIND | m.MS_REC, propagation=(m.MS_SLAVE | m.MS_REC,))),
        (("size=64k", "mode=755"), MountOptions(data="size=64k,mode=755")),
        (("rro",), MountOptions(recursive_set=m.MOUNT_ATTR_RDONLY)),
        (("rro", "rrw"), MountOptions(recursive_clear=m.MOUNT_ATTR_RDONLY)),
        (
            ("rnoatime",),
            MountOptions(recursive_set=m.MOUNT_ATTR_NOATIME, recursive_clear=m.MOUNT_ATTR__ATIME),
        ),
        (("tmpcopyup",), MountOptions(copy_up=True)),
    ],
)
def test_mount_options(words, expected):
    assert parse(words) == expected


def test_sources_of_bind_mounts_begin_at_the_bundle():
    mounts = (
        Mount("/a", "bind", "data", ("bind",)),
        Mount("/b", "none", "/abs/x", ("rbind",)),
        Mount("/c", "bind", "../d", ("bind",)),
    )
    made = plan(replace(SPEC, mounts=mounts), bundle="/bundles/one")

    assert [o.source for o in made if isinstance(o, op.BindMount)] == [
        "/bundles/one/data",
        "/abs/x",
        "/bundles/d",
    ]


def test_type_bind_without_the_option_is_a_filesystem_of_that_name():
    made = plan(replace(SPEC, mounts=(Mount("/a", "bind", "/x"),)))

    assert [o.type for o in made if isinstance(o, op.MountFilesystem)] == ["bind"]


def test_mounts_without_a_mount_namespace_are_kept_to_one_place():
    namespaces = tuple(Namespace(kind) for kind in ("uts", "pid"))
    linux = Linux(namespaces=namespaces)
    made = plan(replace(SPEC, linux=linux))

    assert op.BindRoot("/rootfs", private=True) in made
    assert "PropagateRoot" not in kinds(made)
    assert op.ChangeRoot("chroot") in made
