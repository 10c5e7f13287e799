"""The runtime's config.json for a container, member for member as dockerd 20.10 writes it.

One thing differs on purpose: dockerd lets the runtime make the network namespace and adopts it in a prestart hook; here
the namespace exists before, and its path stands in the document.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixhops.dockerd.containers.checks.config import MASKED_PATHS, READONLY_PATHS
from sixhops.dockerd.containers.specification import capabilities, resources, seccomp
from sixhops.dockerd.containers.specification.mounts import spec_mounts
from sixhops.dockerd.containers.specification.seccompprofile import read_profile
from sixhops.dockerd.containers.specification.security import Security, apparmor_is_on, security_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sixhops.dockerd.containers.model import Container
    from sixhops.dockerd.containers.settings import ContainerSettings
    from sixhops.dockerd.containers.specification.user import Identity

__all__ = ["Surroundings", "environment", "exec_process", "make_spec"]

_VERSION = "1.0.2-dev"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INIT = "/sbin/docker-init"
_GROUP = "/docker"
_SLICE = "system.slice"
_PORT_SYSCTL = "net.ipv4.ip_unprivileged_port_start"
_PING_SYSCTL = "net.ipv4.ping_group_range"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container finds at its start, and only then.

    `root`: where its root is mounted. `files`: place -> file of the host. `netns`: path, "" for the host's. `ipc`, `pid`:
    path of another container's namespace, "" for its own. `shm`: directory for /dev/shm, "" for a tmpfs of its own.
    `init`: path of the init program on the host, "" without. `hostname`: what the program sees. `ulimits` (by name) and
    `no_new_privileges` are the daemon's, for what HostConfig does not say, as are `cgroup_parent` ("": the stock one) and
    `seccomp`, the text of a profile (None: the built-in one). `systemd`: control groups are systemd's.
    `is_unconnected`: the runtime makes an empty network namespace. `linked`: variables of its links.
    """

    root: str
    identity: Identity
    files: dict[str, str]
    netns: str
    hostname: str
    cgroup_parent: str
    ipc: str = ""
    pid: str = ""
    shm: str = ""
    init: str = ""
    root_propagation: str = ""
    ulimits: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    no_new_privileges: bool = False
    seccomp: str | None = None
    systemd: bool = False
    is_unconnected: bool = False
    linked: tuple[str, ...] = ()


def environment(container: Container, *, tty: bool, linked: Sequence[str] = ()) -> list[str]:
    """Return the program's environment: the engine's variables, those of links, then the container's, which win."""
    found = {
        variable.partition("=")[0]: variable
        for variable in (_PATH, f"HOSTNAME={container.config['Hostname']}")
    }
    if tty:
        found["TERM"] = "TERM=xterm"
    _overlay(found, linked)
    _overlay(found, container.config["Env"] or [])
    return list(found.values())


def make_spec(container: Container, around: Surroundings) -> dict[str, Any]:
    """Return config.json. Raises EngineError for options that the host can't fulfil."""
    config, host = container.config, container.host_config
    security = security_of(host["SecurityOpt"] or [], no_new_privileges=around.no_new_privileges)
    chosen = capabilities.choose(host["CapAdd"] or [], host["CapDrop"] or [], privileged=host["Privileged"])
    devices = resources.device_nodes(host)
    resources.check_requests(host["DeviceRequests"] or [])
    words = [container.path, *container.arguments]
    if around.init:
        words = [_INIT, "--", *words]
    process = _process(
        around.identity,
        words,
        environment(container, tty=container.tty, linked=around.linked),
        config["WorkingDir"],
        chosen,
    )
    if container.tty:
        process = {"terminal": True} | process
    limits = resources.rlimits(host, around.ulimits)
    if limits:
        process["rlimits"] = limits
    if security.apparmor not in {"", "unconfined"} and apparmor_is_on():
        process["apparmorProfile"] = security.apparmor
    if security.no_new_privileges:
        process["noNewPrivileges"] = True
    process["oomScoreAdj"] = host["OomScoreAdj"]
    spec: dict[str, Any] = {
        "ociVersion": _VERSION,
        "process": process,
        "root": {"path": around.root} | ({"readonly": True} if host["ReadonlyRootfs"] else {}),
        "hostname": around.hostname,
        "mounts": spec_mounts(
            host,
            container.mounts,
            around.files,
            around.shm,
            (_INIT, around.init) if around.init else None,
        ),
        "linux": _linux(container, around, security, chosen, devices),
    }
    if host["UTSMode"] == "host":
        del spec["hostname"]
    return spec


def exec_process(
    container: Container,
    identity: Identity,
    request: dict[str, Any],
    *,
    owner: Identity,
    settings: ContainerSettings,
    linked: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the document of a second process that runs as `identity`; `request` is the body of the exec.

    `owner` is whom the container's first process runs as: the capabilities are chosen for that one, as in dockerd.
    `linked`: variables of the container's links.
    """
    host = container.host_config
    privileged = bool(request.get("Privileged")) or host["Privileged"]
    chosen = capabilities.choose(host["CapAdd"] or [], host["CapDrop"] or [], privileged=privileged)
    variables = {
        entry.partition("=")[0]: entry
        for entry in environment(container, tty=bool(request.get("Tty")), linked=linked)
    }
    _overlay(variables, request.get("Env") or [])
    folder = request.get("WorkingDir") or container.config["WorkingDir"]
    process = _process(identity, list(request["Cmd"]), list(variables.values()), folder, chosen)
    process["capabilities"] = _sets(owner, chosen)
    if request.get("Tty"):
        process = {"terminal": True} | process
    security = security_of(host["SecurityOpt"] or [], no_new_privileges=settings.no_new_privileges)
    if security.apparmor not in {"", "unconfined"} and apparmor_is_on():
        process["apparmorProfile"] = security.apparmor
    if security.no_new_privileges:
        process["noNewPrivileges"] = True
    limits = resources.rlimits(host, settings.ulimits)
    if limits:
        process["rlimits"] = limits
    process["oomScoreAdj"] = host["OomScoreAdj"]
    return process


def _process(
    identity: Identity, words: list[str], variables: list[str], folder: str, chosen: list[str]
) -> dict[str, Any]:
    return {
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.additional)},
        "args": words,
        "env": variables,
        "cwd": posixpath.normpath(folder) if folder else "/",
        "capabilities": _sets(identity, chosen),
    }


def _sets(identity: Identity, chosen: list[str]) -> dict[str, list[str]]:
    if not chosen:
        # as Go writes it: an empty set is left out
        return {}
    # for others than root execve would clear the other two anyhow
    return dict.fromkeys(
        ("bounding", "effective", "permitted") if identity.uid == 0 else ("bounding",), chosen
    )


def _linux(
    container: Container,
    around: Surroundings,
    security: Security,
    chosen: list[str],
    devices: list[dict[str, Any]],
) -> dict[str, Any]:
    host = container.host_config
    privileged = host["Privileged"]
    sysctls = dict(host.get("Sysctls") or {})
    if host["NetworkMode"] != "host" and not host["NetworkMode"].startswith("container:"):
        sysctls = {_PORT_SYSCTL: "0", _PING_SYSCTL: "0 2147483647"} | sysctls
    if container.config["Domainname"]:
        # the specification has no member for it; one of the user's own wins
        sysctls.setdefault("kernel.domainname", container.config["Domainname"])
    found: dict[str, Any] = {}
    if sysctls:
        found["sysctl"] = sysctls
    found["resources"] = resources.resources(host, devices)
    parent = host["CgroupParent"] or around.cgroup_parent
    if around.systemd:
        found["cgroupsPath"] = f"{parent or _SLICE}:docker:{container.id}"
    else:
        found["cgroupsPath"] = posixpath.normpath(f"{parent or _GROUP}/{container.id}")
    found["namespaces"] = _namespaces(host, around)
    if devices:
        found["devices"] = [
            {key: value for key, value in node.items() if key != "access"} for node in devices
        ]
    if not privileged and security.seccomp != "unconfined":
        profile = security.seccomp or around.seccomp
        filter_ = seccomp.default_filter(chosen) if profile is None else read_profile(profile, chosen)
        if filter_ is not None:
            found["seccomp"] = filter_
    if around.root_propagation:
        found["rootfsPropagation"] = around.root_propagation
    if not privileged:
        found |= {
            member: host[key] or list(usual)
            for member, key, usual in (
                ("maskedPaths", "MaskedPaths", MASKED_PATHS),
                ("readonlyPaths", "ReadonlyPaths", READONLY_PATHS),
            )
            if host[key] or host[key] is None  # None: a client before API 1.24 has given it with the start
        }
    return found


def _namespaces(host: dict[str, Any], around: Surroundings) -> list[dict[str, str]]:
    found: list[dict[str, str]] = [{"type": "mount"}]
    if around.netns or around.is_unconnected:
        found.append({"type": "network"} | ({"path": around.netns} if around.netns else {}))
    if host["UTSMode"] != "host":
        found.append({"type": "uts"})
    if host["PidMode"] != "host":
        found.append({"type": "pid"} | ({"path": around.pid} if around.pid else {}))
    if host["IpcMode"] != "host":
        found.append({"type": "ipc"} | ({"path": around.ipc} if around.ipc else {}))
    if host["CgroupnsMode"] == "private":
        found.append({"type": "cgroup"})
    return found


def _overlay(variables: dict[str, str], changes: Sequence[str]) -> None:
    """Replace or add variables; a name without `=` removes one."""
    for change in changes:
        name, has_value, _value = change.partition("=")
        if has_value:
            variables[name] = change
        else:
            variables.pop(name, None)
