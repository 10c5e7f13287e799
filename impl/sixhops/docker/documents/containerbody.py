"""From the options of run and create to the document of POST /containers/create.

Every key that docker 20.10 sends is sent, in its order, also where the value is the default: an engine sees the same.
Contradictions among options are found here, before anything is asked of the engine (DockerError with docker's message).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from sixhops.docker.documents import hostspec, networks, ports
from sixhops.docker.documents.limits import resources
from sixhops.docker.errors import DockerError
from sixhops.docker.values import integer, not_json, quote, unreadable

if TYPE_CHECKING:
    from sixhops.docker.flags import Options

__all__ = ["build", "key_value_lines", "restart_policy"]

_MAC = re.compile(r"([0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\2){4}[0-9A-Fa-f]{2}")


def build(options: Options, server_os: str, proxies: dict[str, str]) -> dict[str, Any]:
    """Return the create document. `proxies` are config.json's variables, which the person's own come after."""
    _check_numbers(options)
    attached: list[str] = list(options["attach"]) or [
        "stdout",
        "stderr",
        *(["stdin"] if options["interactive"] else []),
    ]
    image, *command = options.arguments
    exposed, bindings = ports.published(options["publish"])
    exposed = ports.with_exposed(exposed, options["expose"])
    environment = [f"{name}={value}" for name, value in proxies.items()]
    environment += key_value_lines(options["env-file"], options["env"], from_here=True)
    labels = key_value_lines(options["label-file"], options["label"], from_here=False)
    volumes, binds, tmpfs = _volumes(options)
    document: dict[str, Any] = {
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "User": options["user"],
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
    }
    if exposed:
        document["ExposedPorts"] = exposed
    document |= {
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and "stdin" in attached,
        "Env": environment or None,
        "Cmd": command or None,
    }
    healthcheck = _healthcheck(options)
    if healthcheck:
        document["Healthcheck"] = healthcheck
    document |= {
        "Image": image,
        "Volumes": {path: {} for path in volumes},
        "WorkingDir": options["workdir"],
        "Entrypoint": [options["entrypoint"]] if "entrypoint" in options.given else None,
    }
    if options["mac-address"]:
        document["MacAddress"] = options["mac-address"]
    document |= {"OnBuild": None, "Labels": dict(_pair(line) for line in labels)}
    if "stop-signal" in options.given:
        document["StopSignal"] = options["stop-signal"]
    if "stop-timeout" in options.given:
        document["StopTimeout"] = options["stop-timeout"]
    host = _host_config(options, server_os, binds, tmpfs, bindings)
    return {
        **document,
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": networks.endpoints(options)},
    }


def key_value_lines(files: list[str], given: list[str], *, from_here: bool) -> list[str]:
    """Return the lines of files and then what was given. `from_here`: a name alone takes our environment's value.

    A name alone in a file of labels is left out. Raises DockerError for a file that can't be read or a line that is no
    variable.
    """
    found: list[str] = []
    for name in files:
        try:
            with open(name, "rb") as file:
                content = file.read()
        except OSError as error:
            raise DockerError(unreadable(name, error)) from error
        for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DockerError(f"invalid utf8 bytes at line {number}: {raw!r}") from error
            line = line.lstrip()
            if not line or line.startswith("#"):
                continue
            name_part, equals, value = line.partition("=")
            if not name_part:
                raise DockerError(f"poorly formatted environment: no variable name on line '{line}'")
            if any(sign.isspace() for sign in name_part):
                raise DockerError(
                    f"poorly formatted environment: variable '{name_part}' contains whitespaces"
                )
            if equals:
                found.append(f"{name_part}={value}")
            elif from_here and name_part in os.environ:
                found.append(f"{name_part}={os.environ[name_part]}")
    return found + given


def _check_numbers(options: Options) -> None:
    swappiness = options["memory-swappiness"]
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise DockerError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    mac = options["mac-address"]
    if mac and not _MAC.fullmatch(mac.strip()):
        raise DockerError(f"{mac.strip()} is not a valid mac address")


def _volumes(options: Options) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the volumes without a source, the binds, and the tmpfs mounts."""
    volumes: list[str] = []
    binds: list[str] = []
    for text in dict.fromkeys(options["volume"]):
        (binds if hostspec.has_source(text) else volumes).append(text)
    tmpfs: dict[str, str] = {}
    for text in options["tmpfs"]:
        path, _, settings = text.partition(":")
        tmpfs[path] = settings
    return volumes, binds, tmpfs


def _healthcheck(options: Options) -> dict[str, Any] | None:
    interval, timeout = options["health-interval"], options["health-timeout"]
    start, retries = options["health-start-period"], options["health-retries"]
    wanted = bool(options["health-cmd"] or interval or timeout or start or retries)
    if options["no-healthcheck"]:
        if wanted:
            raise DockerError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not wanted:
        return None
    for name, value in (
        ("interval", interval),
        ("timeout", timeout),
        ("retries", retries),
        ("start-period", start),
    ):
        if value < 0:
            raise DockerError(f"--health-{name} cannot be negative")
    found: dict[str, Any] = {"Test": ["CMD-SHELL", options["health-cmd"]] if options["health-cmd"] else None}
    found |= {"Interval": interval, "Timeout": timeout, "StartPeriod": start, "Retries": retries}
    return {key: value for key, value in found.items() if value}


def restart_policy(text: str) -> dict[str, Any]:
    """Return HostConfig.RestartPolicy for --restart, NAME[:COUNT]. Raises DockerError."""
    name, colon, count = text.partition(":")
    if not text:
        return {"Name": "", "MaximumRetryCount": 0}
    if ":" in count:
        raise DockerError("invalid restart policy format")
    if colon:
        try:
            return {"Name": name, "MaximumRetryCount": integer(count)}
        except ValueError as error:
            raise DockerError("maximum retry count must be an integer") from error
    return {"Name": name, "MaximumRetryCount": 0}


def _security(options: Options) -> tuple[list[str], bool]:
    """Return SecurityOpt, and whether the paths that are masked by default shall be open."""
    import json  # noqa: PLC0415 - loaded by the client anyway

    found: list[str] = []
    open_paths = False
    for text in options["security-opt"]:
        if text == "systempaths=unconfined":
            open_paths = True
            continue
        name, equals, value = text.partition("=")
        if not equals and name != "no-new-privileges":
            name, equals, value = text.partition(":")
            if not equals:
                raise DockerError(f"Invalid --security-opt: {quote(text)}")
        if name == "seccomp" and value != "unconfined":
            try:
                with open(value, "rb") as file:
                    profile = file.read()
            except OSError as error:
                raise DockerError(
                    f"opening seccomp profile ({value}) failed: {unreadable(value, error)}"
                ) from error
            try:
                text = f"seccomp={json.dumps(json.loads(profile), separators=(',', ':'))}"
            except ValueError as error:
                raise DockerError(
                    f"compacting json for seccomp profile ({value}) failed: {not_json(error)}"
                ) from error
        found.append(text)
    return found, open_paths


def _devices(options: Options, server_os: str) -> list[dict[str, str]]:
    found = []
    for text in options["device"]:
        if server_os != "linux":
            raise DockerError(f"unknown server OS: {server_os}")
        try:
            found.append(hostspec.device(text))
        except ValueError as error:
            raise DockerError(str(error)) from error
    return found


def _namespace(options: Options, name: str, words: tuple[str, ...], label: str) -> str:
    value = str(options[name])
    kind, colon, target = value.partition(":")
    if value in ("", *words) or (name == "pid" and kind == "container" and colon and target):
        return value
    raise DockerError(f"--{name}: invalid {label} mode")


def _logging(options: Options) -> dict[str, Any]:
    settings = dict(_pair(text) for text in options["log-opt"])
    if options["log-driver"] == "none" and settings:
        raise DockerError(f"invalid logging opts for driver {options['log-driver']}")
    return {"Type": options["log-driver"], "Config": settings}


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _host_config(
    options: Options,
    server_os: str,
    binds: list[str],
    tmpfs: dict[str, str],
    bindings: dict[str, list[dict[str, str]]],
) -> dict[str, Any]:
    pid = _namespace(options, "pid", ("host",), "PID")
    uts = _namespace(options, "uts", ("host",), "UTS")
    users = _namespace(options, "userns", ("host",), "USER")
    cgroups = _namespace(options, "cgroupns", ("host", "private"), "CGROUP")
    restart = restart_policy(options["restart"])
    logging = _logging(options)
    security, open_paths = _security(options)
    for text in options["storage-opt"]:
        if "=" not in text:
            raise DockerError("invalid storage option")
    if options["rm"] and restart["Name"] not in ("", "no"):
        raise DockerError("Conflicting options: --restart and --rm")
    found: dict[str, Any] = {
        "Binds": binds or None,
        "ContainerIDFile": options["cidfile"],
        "LogConfig": logging,
        "NetworkMode": networks.mode(options),
        "PortBindings": bindings,
        "RestartPolicy": restart,
        "AutoRemove": options["rm"],
        "VolumeDriver": options["volume-driver"],
        "VolumesFrom": options["volumes-from"] or None,
        "CapAdd": options["cap-add"] or None,
        "CapDrop": options["cap-drop"] or None,
        "CgroupnsMode": cgroups,
        "Dns": options["dns"],
        "DnsOptions": options["dns-option"],
        "DnsSearch": options["dns-search"],
        "ExtraHosts": options["add-host"] or None,
        "GroupAdd": options["group-add"] or None,
        "IpcMode": options["ipc"],
        "Cgroup": "",
        "Links": options["link"] or None,
        "OomScoreAdj": options["oom-score-adj"],
        "PidMode": pid,
        "Privileged": options["privileged"],
        "PublishAllPorts": options["publish-all"],
        "ReadonlyRootfs": options["read-only"],
        "SecurityOpt": security or None,
    }
    if options["storage-opt"]:
        found["StorageOpt"] = dict(_pair(text) for text in options["storage-opt"])
    if tmpfs:
        found["Tmpfs"] = tmpfs
    found |= {"UTSMode": uts, "UsernsMode": users, "ShmSize": options["shm-size"]}
    if options["sysctl"]:
        found["Sysctls"] = dict(options["sysctl"])
    if options["runtime"]:
        found["Runtime"] = options["runtime"]
    found |= {"ConsoleSize": [0, 0], "Isolation": options["isolation"], **_resources(options, server_os)}
    if options["mount"]:
        found["Mounts"] = options["mount"]
    found |= {"MaskedPaths": [] if open_paths else None, "ReadonlyPaths": [] if open_paths else None}
    if "init" in options.given:
        found["Init"] = options["init"]
    return found


def _resources(options: Options, server_os: str) -> dict[str, Any]:
    return resources(options) | {
        "CgroupParent": options["cgroup-parent"],
        "BlkioWeightDevice": options["blkio-weight-device"],
        "BlkioDeviceReadBps": options["device-read-bps"] or None,
        "BlkioDeviceWriteBps": options["device-write-bps"] or None,
        "BlkioDeviceReadIOps": options["device-read-iops"] or None,
        "BlkioDeviceWriteIOps": options["device-write-iops"] or None,
        "Devices": _devices(options, server_os),
        "DeviceCgroupRules": options["device-cgroup-rule"] or None,
        "DeviceRequests": options["gpus"] or None,
        "MemorySwappiness": options["memory-swappiness"],
        "OomKillDisable": options["oom-kill-disable"],
        "Ulimits": options["ulimit"] or None,
    }
