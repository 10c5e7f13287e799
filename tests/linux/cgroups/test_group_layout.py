import pytest

from sixhops.linux.cgroups import layout as module
from sixhops.linux.cgroups.layout import container_groups, parse_layout, read_layout

HYBRID_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 / /mnt/again rw,relatime - cgroup cgroup rw,memory
"""
HYBRID_OWN = "9:name=systemd:/\n4:memory:/own/place\n1:cpu,cpuacct:/\n0::/\n"


def test_hybrid_absolute_path():
    layout = parse_layout(HYBRID_MOUNTS, HYBRID_OWN)

    assert container_groups(layout, "/docker/x") == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/docker/x",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/docker/x",
        "memory": "/sys/fs/cgroup/memory/docker/x",
        "name=systemd": "/sys/fs/cgroup/systemd/docker/x",
        "": "/sys/fs/cgroup/unified/docker/x",
    }


def test_relative_path_is_below_the_callers_own_group():
    layout = parse_layout(HYBRID_MOUNTS, HYBRID_OWN)

    assert container_groups(layout, "x")["memory"] == "/sys/fs/cgroup/memory/own/place/x"


def test_path_does_not_leave_the_hierarchy():
    layout = parse_layout(HYBRID_MOUNTS, HYBRID_OWN)

    assert container_groups(layout, "/../../../etc")["memory"] == "/sys/fs/cgroup/memory/etc"
    assert container_groups(layout, "../../../../etc")["memory"] == "/sys/fs/cgroup/memory/etc"


def test_pure_version_2():
    layout = parse_layout("29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/user.slice\n")

    assert layout.is_unified
    assert container_groups(layout, "/docker/x") == {"": "/sys/fs/cgroup/docker/x"}


def test_relative_path_of_version_2_is_beside_the_callers_own_group():
    mounts = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

    for own, place in (("/user.slice/session-1.scope", "/user.slice/x"), ("/user.slice", "/x"), ("/", "/x")):
        layout = parse_layout(mounts, f"0::{own}\n")

        assert container_groups(layout, "x") == {"": f"/sys/fs/cgroup{place}"}
        assert container_groups(layout, "../../../x") == {"": "/sys/fs/cgroup/x"}


def test_layout_is_read_again_when_something_else_is_at_a_mount_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = read_layout()
    assert read_layout() is first

    monkeypatch.setattr(module, "_place", lambda _path: (-1, -1))
    second = read_layout()
    assert second is not first
    assert second == first
    assert read_layout() is second


def test_layout_is_read_again_in_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_layout()
    ((membership, places, _),) = module._known
    monkeypatch.setattr(module, "_known", [(membership + "77:new:/\n", places, first)])

    second = read_layout()
    assert second is not first
    assert second == first
