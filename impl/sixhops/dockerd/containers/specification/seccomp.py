"""Docker's default system call filter as a table, and the filter of one container made from it.

The table states the facts of dockerd 20.10's default profile: what is allowed always, on which architecture, with which
capability, from which kernel on (20.10.24 was seen not to allow name_to_handle_at without CAP_SYS_ADMIN). What
applies is left, in the table's order, as dockerd writes it into config.json.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["default_filter", "machine", "release", "running_kernel"]

#: Linux's name of a machine -> Go's, and the architectures whose calls the kernel takes on it.
_MACHINES = {
    "x86_64": ("amd64", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "aarch64": ("arm64", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "s390x": ("s390x", ("SCMP_ARCH_S390X", "SCMP_ARCH_S390")),
    "ppc64le": ("ppc64le", ()),
    "riscv64": ("riscv64", ()),
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of the table: names separated by blanks, what is done, and when the line applies."""

    names: str
    action: str = "SCMP_ACT_ALLOW"
    argument: tuple[int, int, str] | None = None
    errno: int | None = None
    capability: str = ""
    without: str = ""
    machines: tuple[str, ...] = ()
    not_machines: tuple[str, ...] = ()
    kernel: tuple[int, int] = (0, 0)


_ALWAYS = """
accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchown
fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 futex_waitv futimesat getcpu getcwd
getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32
getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid
getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy
io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit io_uring_enter
io_uring_register io_uring_setup ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lchown32 lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat
lstat64 madvise membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall
mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe
pipe2 poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64
pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64
recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
socket socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range
syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes
vfork vmsplice wait4 waitid waitpid write writev
"""

_DEFAULT = (
    _Rule(_ALWAYS),
    _Rule("ptrace", kernel=(4, 8)),
    _Rule("personality", argument=(0, 0, "SCMP_CMP_EQ")),
    _Rule("personality", argument=(0, 8, "SCMP_CMP_EQ")),
    _Rule("personality", argument=(0, 131072, "SCMP_CMP_EQ")),
    _Rule("personality", argument=(0, 131080, "SCMP_CMP_EQ")),
    _Rule("personality", argument=(0, 4294967295, "SCMP_CMP_EQ")),
    _Rule("sync_file_range2", machines=("ppc64le",)),
    _Rule(
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
        machines=("arm", "arm64"),
    ),
    _Rule("arch_prctl", machines=("amd64", "x32")),
    _Rule("modify_ldt", machines=("amd64", "x32", "x86")),
    _Rule("s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", machines=("s390", "s390x")),
    _Rule("open_by_handle_at", capability="CAP_DAC_READ_SEARCH"),
    _Rule(
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr "
        "move_mount name_to_handle_at open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog "
        "umount umount2 unshare",
        capability="CAP_SYS_ADMIN",
    ),
    _Rule(
        "clone",
        argument=(0, 2114060288, "SCMP_CMP_MASKED_EQ"),
        without="CAP_SYS_ADMIN",
        not_machines=("s390", "s390x"),
    ),
    _Rule(
        "clone",
        argument=(1, 2114060288, "SCMP_CMP_MASKED_EQ"),
        without="CAP_SYS_ADMIN",
        machines=("s390", "s390x"),
    ),
    _Rule("clone3", action="SCMP_ACT_ERRNO", errno=38, without="CAP_SYS_ADMIN"),
    _Rule("reboot", capability="CAP_SYS_BOOT"),
    _Rule("chroot", capability="CAP_SYS_CHROOT"),
    _Rule("delete_module init_module finit_module", capability="CAP_SYS_MODULE"),
    _Rule("acct", capability="CAP_SYS_PACCT"),
    _Rule(
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
        capability="CAP_SYS_PTRACE",
    ),
    _Rule("iopl ioperm", capability="CAP_SYS_RAWIO"),
    _Rule("settimeofday stime clock_settime", capability="CAP_SYS_TIME"),
    _Rule("vhangup", capability="CAP_SYS_TTY_CONFIG"),
    _Rule("get_mempolicy mbind set_mempolicy", capability="CAP_SYS_NICE"),
    _Rule("syslog", capability="CAP_SYSLOG"),
)


def default_filter(capabilities: Collection[str]) -> dict[str, Any]:
    """Return `linux.seccomp` of a container that has `capabilities` in its bounding set, on this machine."""
    name, architectures = _MACHINES.get(os.uname().machine, ("", ()))
    calls = [_entry(rule) for rule in _DEFAULT if _applies(rule, name, capabilities)]
    return {"defaultAction": "SCMP_ACT_ERRNO"} | _architectures(architectures) | {"syscalls": calls}


def _applies(rule: _Rule, name: str, capabilities: Collection[str]) -> bool:
    return (
        (not rule.machines or name in rule.machines)
        and name not in rule.not_machines
        and (not rule.capability or rule.capability in capabilities)
        and (not rule.without or rule.without not in capabilities)
        and running_kernel() >= rule.kernel
    )


def _entry(rule: _Rule) -> dict[str, Any]:
    entry: dict[str, Any] = {"names": rule.names.split(), "action": rule.action}
    if rule.errno is not None:
        entry["errnoRet"] = rule.errno
    if rule.argument is not None:
        index, value, operator = rule.argument
        entry["args"] = [{"index": index, "value": value, "op": operator}]
    return entry


def _architectures(names: Collection[str]) -> dict[str, Any]:
    return {"architectures": list(names)} if names else {}


def machine() -> tuple[str, str]:
    """Return Go's name of this machine, and libseccomp's of its native architecture; "" where Docker knows none."""
    name, architectures = _MACHINES.get(os.uname().machine, ("", ()))
    return name, architectures[0] if architectures else ""


def running_kernel() -> tuple[int, int]:
    """Return version and major revision of the running kernel."""
    return release(os.uname().release)


def release(text: str) -> tuple[int, int]:
    """Return version and major revision of a kernel's name, such as `5.10.0-8-amd64`. Raises ValueError."""
    major, _, rest = text.partition(".")
    digits = rest.split(".")[0].split("-")[0]
    return int(major), int(digits)
