"""The types of request bodies, as far as Go checks them while it decodes: what a member may be, and how the type is called.

Names of types appear in error messages (`of type container.HostConfig`), observed on dockerd 20.10. Members that are not
listed are not checked here.
"""

from __future__ import annotations

from sixhops.dockerd.api.gojson import Kind, Struct

__all__ = [
    "AUTH",
    "CHECKPOINT",
    "COPY",
    "CREATE",
    "EXEC_CREATE",
    "EXEC_START",
    "HEALTH",
    "MOUNT",
    "NETWORK_CONNECT",
    "NETWORK_CREATE",
    "NETWORK_DISCONNECT",
    "ULIMIT",
    "UPDATE",
    "VOLUME_CREATE",
]

_STRING = Kind("string", "string")
_BOOL = Kind("bool", "bool")
_INT = Kind("int", "int")
_INT64 = Kind("int64", "int")
_UINT16 = Kind("uint16", "int")
_UINT64 = Kind("uint64", "int")
_STRINGS = Kind("[]string", "list", _STRING)
_MAP = Kind("map[string]string", "map", _STRING)
_WORDS = Kind("string", "words")
_EMPTY = Struct("struct {}", {})
_PORT_SET = Kind("nat.PortSet", "map", _EMPTY)
_PORT_BINDING = Struct("PortBinding", {"HostIp": _STRING, "HostPort": _STRING}, "nat")


def _named(name: str) -> Kind:
    return Kind(name, "string")


def _all(kind: Kind, *names: str) -> dict[str, Kind | Struct]:
    return dict.fromkeys(names, kind)


HEALTH = Struct(
    "HealthConfig",
    {
        "Test": _STRINGS,
        **_all(Kind("time.Duration", "int"), "Interval", "Timeout", "StartPeriod"),
        "Retries": _INT,
    },
    "container",
)
ULIMIT = Struct("Ulimit", {"Name": _STRING, "Soft": _INT64, "Hard": _INT64}, "units")
_DEVICE = Struct(
    "DeviceMapping", _all(_STRING, "PathOnHost", "PathInContainer", "CgroupPermissions"), "container"
)
_DRIVER = Struct("Driver", {"Name": _STRING, "Options": _MAP}, "mount")
MOUNT = Struct(
    "Mount",
    {
        "Type": _named("mount.Type"),
        "Source": _STRING,
        "Target": _STRING,
        "ReadOnly": _BOOL,
        "Consistency": _named("mount.Consistency"),
        "BindOptions": Struct(
            "BindOptions", {"Propagation": _named("mount.Propagation"), "NonRecursive": _BOOL}, "mount"
        ),
        "VolumeOptions": Struct(
            "VolumeOptions", {"NoCopy": _BOOL, "Labels": _MAP, "DriverConfig": _DRIVER}, "mount"
        ),
        "TmpfsOptions": Struct(
            "TmpfsOptions", {"SizeBytes": _INT64, "Mode": Kind("fs.FileMode", "int")}, "mount"
        ),
    },
    "mount",
)
_WEIGHT = Struct("WeightDevice", {"Path": _STRING, "Weight": _UINT16}, "blkiodev")
_THROTTLE = Kind(
    "[]*blkiodev.ThrottleDevice",
    "list",
    Struct("ThrottleDevice", {"Path": _STRING, "Rate": _UINT64}, "blkiodev"),
)
_DEVICE_REQUEST = Struct(
    "DeviceRequest",
    {
        "Driver": _STRING,
        "Count": _INT,
        "DeviceIDs": _STRINGS,
        "Capabilities": Kind("[][]string", "list", _STRINGS),
        "Options": _MAP,
    },
    "container",
)
_RESTART = Struct("RestartPolicy", {"Name": _STRING, "MaximumRetryCount": _INT}, "container")
_LOG = Struct("LogConfig", {"Type": _STRING, "Config": _MAP}, "container")

_HOST_CONFIG = Struct(
    "HostConfig",
    {
        **_all(
            _STRING, "ContainerIDFile", "VolumeDriver", "CgroupParent", "CpusetCpus", "CpusetMems", "Runtime"
        ),
        **_all(
            _STRINGS,
            "Binds",
            "VolumesFrom",
            "Dns",
            "DnsOptions",
            "DnsSearch",
            "ExtraHosts",
            "GroupAdd",
            "Links",
            "SecurityOpt",
            "DeviceCgroupRules",
            "MaskedPaths",
            "ReadonlyPaths",
        ),
        **_all(
            _BOOL, "AutoRemove", "Privileged", "PublishAllPorts", "ReadonlyRootfs", "OomKillDisable", "Init"
        ),
        **_all(
            _INT64,
            "ShmSize",
            "CpuShares",
            "Memory",
            "NanoCpus",
            "CpuPeriod",
            "CpuQuota",
            "CpuRealtimePeriod",
            "CpuRealtimeRuntime",
            "KernelMemory",
            "KernelMemoryTCP",
            "MemoryReservation",
            "MemorySwap",
            "MemorySwappiness",
            "PidsLimit",
            "CpuCount",
            "CpuPercent",
        ),
        **_all(_UINT64, "IOMaximumIOps", "IOMaximumBandwidth"),
        **_all(
            _THROTTLE,
            "BlkioDeviceReadBps",
            "BlkioDeviceWriteBps",
            "BlkioDeviceReadIOps",
            "BlkioDeviceWriteIOps",
        ),
        "BlkioWeightDevice": Kind("[]*blkiodev.WeightDevice", "list", _WEIGHT),
        "DeviceRequests": Kind("[]container.DeviceRequest", "list", _DEVICE_REQUEST),
        "OomScoreAdj": _INT,
        "BlkioWeight": _UINT16,
        "NetworkMode": _named("container.NetworkMode"),
        "CgroupnsMode": _named("container.CgroupnsMode"),
        "IpcMode": _named("container.IpcMode"),
        "Cgroup": _named("container.CgroupSpec"),
        "PidMode": _named("container.PidMode"),
        "UTSMode": _named("container.UTSMode"),
        "UsernsMode": _named("container.UsernsMode"),
        "Isolation": _named("container.Isolation"),
        "CapAdd": _WORDS,
        "CapDrop": _WORDS,
        "LogConfig": _LOG,
        "RestartPolicy": _RESTART,
        "PortBindings": Kind("nat.PortMap", "map", Kind("[]nat.PortBinding", "list", _PORT_BINDING)),
        "StorageOpt": _MAP,
        "Tmpfs": _MAP,
        "Sysctls": _MAP,
        "ConsoleSize": Kind("[2]uint", "list", Kind("uint", "int")),
        "Devices": Kind("[]container.DeviceMapping", "list", _DEVICE),
        "Ulimits": Kind("[]*units.Ulimit", "list", ULIMIT),
        "Mounts": Kind("[]mount.Mount", "list", MOUNT),
    },
    "container",
)
_ENDPOINT = Struct(
    "EndpointSettings",
    {
        "IPAMConfig": Struct(
            "EndpointIPAMConfig",
            {"IPv4Address": _STRING, "IPv6Address": _STRING, "LinkLocalIPs": _STRINGS},
            "network",
        ),
        "Links": _STRINGS,
        "Aliases": _STRINGS,
        "DriverOpts": _MAP,
        **_all(_STRING, "NetworkID", "EndpointID", "Gateway", "IPAddress", "MacAddress"),
    },
    "network",
)
_NETWORKING = Struct(
    "NetworkingConfig",
    {"EndpointsConfig": Kind("map[string]*network.EndpointSettings", "map", _ENDPOINT)},
    "network",
)

CREATE = Struct(
    "ContainerConfigWrapper",
    {
        # what older clients write beside HostConfig
        **_HOST_CONFIG.fields,
        "Cpuset": _STRING,
        **_all(_STRING, "Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal"),
        **_all(
            _BOOL,
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "ArgsEscaped",
            "NetworkDisabled",
        ),
        **_all(_WORDS, "Cmd", "Entrypoint", "Shell"),
        **_all(_STRINGS, "Env", "OnBuild"),
        "ExposedPorts": _PORT_SET,
        "Volumes": Kind("map[string]struct {}", "map", _EMPTY),
        "Labels": _MAP,
        "StopTimeout": _INT,
        "Healthcheck": HEALTH,
        "HostConfig": _HOST_CONFIG,
        "NetworkingConfig": _NETWORKING,
    },
    "runconfig",
)
EXEC_CREATE = Struct(
    "ExecConfig",
    {
        **_all(_STRING, "User", "DetachKeys", "WorkingDir"),
        **_all(_BOOL, "Privileged", "Tty", "AttachStdin", "AttachStderr", "AttachStdout", "Detach"),
        **_all(_STRINGS, "Env", "Cmd"),
    },
    "types",
)
UPDATE = Struct("UpdateConfig", {**_HOST_CONFIG.fields, "RestartPolicy": _RESTART}, "container")
COPY = Struct("CopyConfig", {"Resource": _STRING}, "types")
CHECKPOINT = Struct(
    "CheckpointCreateOptions",
    {"CheckpointID": _STRING, "CheckpointDir": _STRING, "Exit": _BOOL},
    "types",
)
EXEC_START = Struct("ExecStartCheck", _all(_BOOL, "Detach", "Tty"), "types")
VOLUME_CREATE = Struct(
    "VolumeCreateBody",
    {"Name": _STRING, "Driver": _STRING, "DriverOpts": _MAP, "Labels": _MAP},
    "volume",
)
_IPAM_CONFIG = Struct(
    "IPAMConfig",
    {"Subnet": _STRING, "IPRange": _STRING, "Gateway": _STRING, "AuxiliaryAddresses": _MAP},
    "network",
)
NETWORK_CREATE = Struct(
    "NetworkCreateRequest",
    {
        **_all(_STRING, "Name", "Driver", "Scope"),
        **_all(_BOOL, "CheckDuplicate", "EnableIPv6", "Internal", "Attachable", "Ingress", "ConfigOnly"),
        "Options": _MAP,
        "Labels": _MAP,
        "ConfigFrom": Struct("ConfigReference", {"Network": _STRING}, "network"),
        "IPAM": Struct(
            "IPAM",
            {
                "Driver": _STRING,
                "Options": _MAP,
                "Config": Kind("[]network.IPAMConfig", "list", _IPAM_CONFIG),
            },
            "network",
        ),
    },
    "types",
)
NETWORK_CONNECT = Struct("NetworkConnect", {"Container": _STRING, "EndpointConfig": _ENDPOINT}, "types")
NETWORK_DISCONNECT = Struct("NetworkDisconnect", {"Container": _STRING, "Force": _BOOL}, "types")
AUTH = Struct(
    "AuthConfig",
    _all(_STRING, "username", "password", "auth", "email", "serveraddress", "identitytoken", "registrytoken"),
    "types",
)
