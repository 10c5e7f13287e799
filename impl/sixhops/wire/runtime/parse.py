"""From the text of config.json, process.json or resources.json to the values of `document`.

Reads types only: what values a runtime accepts is the runtime's business. Unknown members are ignored, as the
specification demands ("Extensibility", config.md).
"""

from __future__ import annotations

from sixhops.wire.runtime import document as d
from sixhops.wire.runtime.reader import Members, decode

__all__ = ["parse_process", "parse_resources", "parse_spec"]

_latest_seccomp: list[tuple[bytes, d.Seccomp]] = []


def parse_spec(text: str) -> d.Spec:
    """Return the document of a bundle. Raises SpecError, which names the member."""
    top = decode(text, "specs.Spec")
    root = top.child("root", "Root")
    process = top.child("process", "Process")
    hooks = top.child("hooks", "Hooks")
    linux = top.child("linux", "Linux")
    return d.Spec(
        version=top.text("ociVersion"),
        process=_process(process) if process else None,
        root_path=root.text("path") if root else None,
        root_readonly=root.flag("readonly") if root else False,
        hostname=top.text("hostname"),
        domainname=top.text("domainname"),
        mounts=tuple(_mount(member) for member in top.children("mounts", "Mount")),
        hooks=_hooks(hooks) if hooks else d.Hooks(),
        annotations=top.table("annotations"),
        linux=_linux(linux) if linux else d.Linux(),
    )


def parse_process(text: str) -> d.Process:
    """Return the document of `exec --process`. Raises SpecError."""
    return _process(decode(text, "specs.Process"))


def parse_resources(text: str) -> d.Resources:
    """Return the document of `update --resources`. Raises SpecError."""
    return _resources(decode(text, "specs.LinuxResources"))


def _process(m: Members) -> d.Process:
    user = m.child("user", "User")
    size = m.child("consoleSize", "Box")
    capabilities = m.child("capabilities", "LinuxCapabilities")
    return d.Process(
        args=m.texts("args"),
        env=m.texts("env"),
        cwd=m.text("cwd"),
        terminal=m.flag("terminal"),
        console_size=(size.count("height", "uint"), size.count("width", "uint")) if size else None,
        user=d.User(
            user.count("uid", "uint32"),
            user.count("gid", "uint32"),
            user.number("umask", "uint32"),
            user.numbers("additionalGids", "uint32"),
        )
        if user
        else d.User(),
        capabilities=d.Capabilities(
            *(
                capabilities.texts(key)
                for key in ("bounding", "effective", "permitted", "inheritable", "ambient")
            )
        )
        if capabilities
        else None,
        rlimits=tuple(
            d.Rlimit(r.text("type"), r.count("soft", "uint64"), r.count("hard", "uint64"))
            for r in m.children("rlimits", "POSIXRlimit")
        ),
        no_new_privileges=m.flag("noNewPrivileges"),
        apparmor_profile=m.text("apparmorProfile"),
        selinux_label=m.text("selinuxLabel"),
        oom_score_adj=m.number("oomScoreAdj", "int"),
        scheduler=_scheduler(m),
        io_priority=_io_priority(m),
        exec_cpu_affinity=_affinity(m),
    )


def _scheduler(m: Members) -> d.Scheduler | None:
    s = m.child("scheduler", "Scheduler")
    if s is None:
        return None
    return d.Scheduler(
        policy=s.text("policy", wanted="specs.LinuxSchedulerPolicy"),
        nice=s.count("nice", "int32"),
        priority=s.count("priority", "int32"),
        flags=s.texts("flags", "specs.LinuxSchedulerFlag"),
        runtime=s.count("runtime", "uint64"),
        deadline=s.count("deadline", "uint64"),
        period=s.count("period", "uint64"),
    )


def _io_priority(m: Members) -> d.IoPriority | None:
    i = m.child("ioPriority", "LinuxIOPriority")
    return (
        d.IoPriority(i.text("class", wanted="specs.IOPriorityClass"), i.count("priority", "int"))
        if i
        else None
    )


def _affinity(m: Members) -> d.CpuAffinity | None:
    a = m.child("execCPUAffinity", "CPUAffinity")
    return d.CpuAffinity(a.text("initial"), a.text("final")) if a else None


def _mount(m: Members) -> d.Mount:
    return d.Mount(
        destination=m.text("destination"),
        type=m.text("type"),
        source=m.text("source"),
        options=m.texts("options"),
        uid_mappings=_mappings(m, "uidMappings"),
        gid_mappings=_mappings(m, "gidMappings"),
    )


def _mappings(m: Members, key: str) -> tuple[d.IdMapping, ...]:
    return tuple(
        d.IdMapping(e.count("containerID", "uint32"), e.count("hostID", "uint32"), e.count("size", "uint32"))
        for e in m.children(key, "LinuxIDMapping")
    )


def _hooks(m: Members) -> d.Hooks:
    keys = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return d.Hooks(*(tuple(_hook(hook) for hook in m.children(key, "Hook")) for key in keys))


def _hook(m: Members) -> d.Hook:
    return d.Hook(m.text("path"), m.texts("args"), m.texts("env"), m.number("timeout", "int"))


def _linux(m: Members) -> d.Linux:
    resources = m.child("resources", "LinuxResources")
    seccomp = m.child("seccomp", "LinuxSeccomp")
    personality = m.child("personality", "LinuxPersonality")
    rdt = m.child("intelRdt", "LinuxIntelRdt")
    return d.Linux(
        namespaces=tuple(
            d.Namespace(n.text("type", wanted="specs.LinuxNamespaceType"), n.text("path"))
            for n in m.children("namespaces", "LinuxNamespace")
        ),
        uid_mappings=_mappings(m, "uidMappings"),
        gid_mappings=_mappings(m, "gidMappings"),
        time_offsets={
            clock: d.TimeOffset(o.count("secs", "int64"), o.count("nanosecs", "uint32"))
            for clock, o in m.tables("timeOffsets", "LinuxTimeOffset").items()
        },
        devices=tuple(
            d.Device(
                path=e.text("path"),
                type=e.text("type"),
                major=e.count("major", "int64"),
                minor=e.count("minor", "int64"),
                file_mode=e.number("fileMode", "uint32"),
                uid=e.count("uid", "uint32"),
                gid=e.count("gid", "uint32"),
            )
            for e in m.children("devices", "LinuxDevice")
        ),
        cgroups_path=m.text("cgroupsPath"),
        resources=_resources(resources) if resources else d.Resources(),
        rootfs_propagation=m.text("rootfsPropagation"),
        seccomp=_seccomp(seccomp) if seccomp else None,
        sysctl=m.table("sysctl"),
        masked_paths=m.texts("maskedPaths"),
        readonly_paths=m.texts("readonlyPaths"),
        mount_label=m.text("mountLabel"),
        personality=personality.text("domain", wanted="specs.LinuxPersonalityDomain") if personality else "",
        intel_rdt=d.IntelRdt(rdt.text("closID"), rdt.text("l3CacheSchema"), rdt.text("memBwSchema"))
        if rdt
        else None,
    )


def _resources(m: Members) -> d.Resources:
    memory, cpu, pids = (
        m.child(key, f"Linux{name}") for key, name in (("memory", "Memory"), ("cpu", "CPU"), ("pids", "Pids"))
    )
    block, network = m.child("blockIO", "LinuxBlockIO"), m.child("network", "LinuxNetwork")
    return d.Resources(
        devices=tuple(
            d.DeviceRule(
                r.flag("allow"),
                r.text("type"),
                r.number("major", "int64"),
                r.number("minor", "int64"),
                r.text("access"),
            )
            for r in m.children("devices", "LinuxDeviceCgroup")
        ),
        memory=_memory(memory) if memory else d.Memory(),
        cpu=_cpu(cpu) if cpu else d.Cpu(),
        pids_limit=pids.number("limit", "int64") if pids else None,
        block_io=_block_io(block) if block else d.BlockIo(),
        hugepage_limits=tuple(
            d.HugepageLimit(h.text("pageSize"), h.count("limit", "uint64"))
            for h in m.children("hugepageLimits", "LinuxHugepageLimit")
        ),
        network=d.Network(
            network.number("classID", "uint32"),
            tuple(
                (p.text("name"), p.count("priority", "uint32"))
                for p in network.children("priorities", "LinuxInterfacePriority")
            ),
        )
        if network
        else d.Network(),
        rdma={
            name: (r.number("hcaHandles", "uint32"), r.number("hcaObjects", "uint32"))
            for name, r in m.tables("rdma", "LinuxRdma").items()
        },
        unified=m.table("unified"),
    )


def _memory(m: Members) -> d.Memory:
    return d.Memory(
        limit=m.number("limit", "int64"),
        reservation=m.number("reservation", "int64"),
        swap=m.number("swap", "int64"),
        kernel=m.number("kernel", "int64"),
        kernel_tcp=m.number("kernelTCP", "int64"),
        swappiness=m.number("swappiness", "uint64"),
        disable_oom_killer=m.flag("disableOOMKiller"),
        check_before_update=m.flag("checkBeforeUpdate"),
    )


def _cpu(m: Members) -> d.Cpu:
    return d.Cpu(
        shares=m.number("shares", "uint64"),
        quota=m.number("quota", "int64"),
        burst=m.number("burst", "uint64"),
        period=m.number("period", "uint64"),
        realtime_runtime=m.number("realtimeRuntime", "int64"),
        realtime_period=m.number("realtimePeriod", "uint64"),
        cpus=m.text("cpus"),
        mems=m.text("mems"),
        idle=m.number("idle", "int64"),
    )


def _block_io(m: Members) -> d.BlockIo:
    def throttles(key: str) -> tuple[d.ThrottleDevice, ...]:
        return tuple(
            d.ThrottleDevice(t.count("major", "int64"), t.count("minor", "int64"), t.count("rate", "uint64"))
            for t in m.children(key, "LinuxThrottleDevice")
        )

    return d.BlockIo(
        weight=m.number("weight", "uint16"),
        leaf_weight=m.number("leafWeight", "uint16"),
        weight_devices=tuple(
            d.WeightDevice(
                w.count("major", "int64"),
                w.count("minor", "int64"),
                w.number("weight", "uint16"),
                w.number("leafWeight", "uint16"),
            )
            for w in m.children("weightDevice", "LinuxWeightDevice")
        ),
        read_bps=throttles("throttleReadBpsDevice"),
        write_bps=throttles("throttleWriteBpsDevice"),
        read_iops=throttles("throttleReadIOPSDevice"),
        write_iops=throttles("throttleWriteIOPSDevice"),
    )


def _seccomp(m: Members) -> d.Seccomp:
    """Return the section; it is the largest one, and nearly all containers of a host have the same."""
    packed = m.packed()
    if _latest_seccomp and _latest_seccomp[0][0] == packed:
        return _latest_seccomp[0][1]
    found = _read_seccomp(m)
    _latest_seccomp[:] = [(packed, found)]
    return found


def _read_seccomp(m: Members) -> d.Seccomp:
    return d.Seccomp(
        default_action=m.text("defaultAction"),
        default_errno=m.number("defaultErrnoRet", "uint"),
        architectures=m.texts("architectures", "specs.Arch"),
        flags=m.texts("flags", "specs.LinuxSeccompFlag"),
        listener_path=m.text("listenerPath"),
        listener_metadata=m.text("listenerMetadata"),
        rules=tuple(
            d.SeccompRule(
                names=r.texts("names"),
                action=r.text("action"),
                errno=r.number("errnoRet", "uint"),
                arguments=tuple(
                    d.SeccompArgument(
                        a.count("index", "uint"),
                        a.count("value", "uint64"),
                        a.count("valueTwo", "uint64"),
                        a.text("op"),
                    )
                    for a in r.children("args", "LinuxSeccompArg")
                ),
            )
            for r in m.children("syscalls", "LinuxSyscall")
        ),
    )
