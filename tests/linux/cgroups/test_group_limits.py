import pytest

from sixhops.linux.cgroups.limits import LimitError, plan_unified, plan_version1
from sixhops.wire.runtime.document import BlockIo, Cpu, HugepageLimit, Memory, Resources, ThrottleDevice


def test_what_docker_sends_by_default_sets_nothing():
    resources = Resources(memory=Memory(), cpu=Cpu(shares=0), block_io=BlockIo(weight=0))

    assert plan_version1(resources) == []
    assert plan_unified(resources) == []


@pytest.mark.parametrize(
    ("resources", "version1", "unified"),
    [
        (
            Resources(memory=Memory(limit=64, swap=128, reservation=32)),
            [
                ("memory", "memory.limit_in_bytes", "64"),
                ("memory", "memory.memsw.limit_in_bytes", "128"),
                ("memory", "memory.soft_limit_in_bytes", "32"),
            ],
            [("", "memory.swap.max", "64"), ("", "memory.max", "64"), ("", "memory.low", "32")],
        ),
        (
            Resources(memory=Memory(limit=-1)),
            [("memory", "memory.limit_in_bytes", "-1"), ("memory", "memory.memsw.limit_in_bytes", "-1")],
            [("", "memory.swap.max", "max"), ("", "memory.max", "max")],
        ),
        (
            Resources(cpu=Cpu(quota=50000, period=100000, shares=1024)),
            [
                ("cpu", "cpu.shares", "1024"),
                ("cpu", "cpu.cfs_period_us", "100000"),
                ("cpu", "cpu.cfs_quota_us", "50000"),
            ],
            [("", "cpu.weight", "39"), ("", "cpu.max", "50000 100000")],
        ),
        (
            Resources(cpu=Cpu(cpus="0-1", mems="0")),
            [("cpuset", "cpuset.cpus", "0-1"), ("cpuset", "cpuset.mems", "0")],
            [("", "cpuset.cpus", "0-1"), ("", "cpuset.mems", "0")],
        ),
        (Resources(pids_limit=-1), [("pids", "pids.max", "max")], [("", "pids.max", "max")]),
        (
            Resources(block_io=BlockIo(read_bps=(ThrottleDevice(8, 0, 1000),))),
            [("blkio", "blkio.throttle.read_bps_device", "8:0 1000")],
            [("", "io.max", "8:0 rbps=1000")],
        ),
        (
            Resources(hugepage_limits=(HugepageLimit("2MB", 4096),)),
            [("hugetlb", "hugetlb.2MB.limit_in_bytes", "4096")],
            [("", "hugetlb.2MB.max", "4096")],
        ),
    ],
)
def test_plans(resources, version1, unified):
    assert plan_version1(resources) == version1
    assert plan_unified(resources) == unified


def test_swap_below_memory_on_version_2():
    with pytest.raises(LimitError, match="should be >= memory limit"):
        plan_unified(Resources(memory=Memory(limit=100, swap=50)))


def test_unified_name_with_a_slash():
    with pytest.raises(LimitError, match="must be a file name"):
        plan_unified(Resources(unified={"../memory.max": "1"}))


def test_swappiness_out_of_range():
    with pytest.raises(LimitError, match="valid range is 0-100"):
        plan_version1(Resources(memory=Memory(swappiness=101)))
