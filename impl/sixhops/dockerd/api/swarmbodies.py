"""The types of the bodies of swarm operations, as Go checks them while it decodes (api/types/swarm of moby 20.10).

Members of an embedded struct stand in the outer one, as encoding/json has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sixhops.dockerd.api.bodies import HEALTH, MOUNT, ULIMIT
from sixhops.dockerd.api.gojson import Kind, Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONFIG", "INIT", "JOIN", "NODE", "SECRET", "SERVICE", "SWARM", "UNLOCK"]

_STRING = Kind("string", "string")
_BOOL = Kind("bool", "bool")
_UINT64 = Kind("uint64", "int")
_UINT32 = Kind("uint32", "int")
_INT64 = Kind("int64", "int")
_DURATION = Kind("time.Duration", "int")
_STRINGS = Kind("[]string", "list", _STRING)
_MAP = Kind("map[string]string", "map", _STRING)
_BYTES = Kind("[]uint8", "bytes")


def _all(kind: Kind | Struct, *names: str) -> dict[str, Kind | Struct]:
    return dict.fromkeys(names, kind)


def _struct(name: str, *fields: dict[str, Kind | Struct]) -> Struct:
    merged: dict[str, Kind | Struct] = {}
    for group in fields:
        merged |= group
    return Struct(name, merged, "swarm")


def _list(struct: Struct, *, pointer: bool = False) -> Kind:
    return Kind(f"[]{'*' if pointer else ''}{struct.printed}", "list", struct)


def _named(name: str) -> Kind:
    return Kind(f"swarm.{name}", "string")


def _annotated(*fields: dict[str, Kind | Struct]) -> Iterable[dict[str, Kind | Struct]]:
    return ({"Name": _STRING, "Labels": _MAP}, *fields)


_DRIVER = _struct("Driver", {"Name": _STRING, "Options": _MAP})
_FILE_MEMBERS: dict[str, Kind | Struct] = {
    **_all(_STRING, "Name", "UID", "GID"),
    "Mode": Kind("fs.FileMode", "int"),
}
_SECRET_REFERENCE = _struct(
    "SecretReference",
    {"File": _struct("SecretReferenceFileTarget", _FILE_MEMBERS)},
    _all(_STRING, "SecretID", "SecretName"),
)
_CONFIG_REFERENCE = _struct(
    "ConfigReference",
    {
        "File": _struct("ConfigReferenceFileTarget", _FILE_MEMBERS),
        "Runtime": _struct("ConfigReferenceRuntimeTarget"),
    },
    _all(_STRING, "ConfigID", "ConfigName"),
)
_PRIVILEGES = _struct(
    "Privileges",
    {
        "CredentialSpec": _struct("CredentialSpec", _all(_STRING, "Config", "File", "Registry")),
        "SELinuxContext": _struct(
            "SELinuxContext", {"Disable": _BOOL}, _all(_STRING, "User", "Role", "Type", "Level")
        ),
    },
)
_CONTAINER = _struct(
    "ContainerSpec",
    _all(_STRING, "Image", "Hostname", "Dir", "User", "StopSignal"),
    _all(_STRINGS, "Command", "Args", "Env", "Groups", "Hosts", "CapabilityAdd", "CapabilityDrop"),
    _all(_MAP, "Labels", "Sysctls"),
    _all(_BOOL, "Init", "TTY", "OpenStdin", "ReadOnly"),
    {
        "Privileges": _PRIVILEGES,
        "Mounts": Kind("[]mount.Mount", "list", MOUNT),
        "StopGracePeriod": _DURATION,
        "Healthcheck": HEALTH,
        "DNSConfig": _struct("DNSConfig", _all(_STRINGS, "Nameservers", "Search", "Options")),
        "Secrets": _list(_SECRET_REFERENCE, pointer=True),
        "Configs": _list(_CONFIG_REFERENCE, pointer=True),
        "Isolation": Kind("container.Isolation", "string"),
        "Ulimits": Kind("[]*units.Ulimit", "list", ULIMIT),
    },
)
_GENERIC = _struct(
    "GenericResource",
    {
        "NamedResourceSpec": _struct("NamedGenericResource", _all(_STRING, "Kind", "Value")),
        "DiscreteResourceSpec": _struct("DiscreteGenericResource", {"Kind": _STRING, "Value": _INT64}),
    },
)
_RESOURCES = _struct(
    "ResourceRequirements",
    {
        "Limits": _struct("Limit", _all(_INT64, "NanoCPUs", "MemoryBytes", "Pids")),
        "Reservations": _struct(
            "Resources", _all(_INT64, "NanoCPUs", "MemoryBytes"), {"GenericResources": _list(_GENERIC)}
        ),
    },
)
_PLACEMENT = _struct(
    "Placement",
    {
        "Constraints": _STRINGS,
        "Preferences": _list(
            _struct("PlacementPreference", {"Spread": _struct("SpreadOver", {"SpreadDescriptor": _STRING})})
        ),
        "MaxReplicas": _UINT64,
        "Platforms": _list(_struct("Platform", _all(_STRING, "Architecture", "OS"))),
    },
)
_ATTACHMENT = _struct("NetworkAttachmentConfig", {"Target": _STRING, "Aliases": _STRINGS, "DriverOpts": _MAP})
_RESTART = _struct(
    "RestartPolicy",
    {"Condition": _named("RestartPolicyCondition"), "MaxAttempts": _UINT64},
    _all(_DURATION, "Delay", "Window"),
)
_TASK = _struct(
    "TaskSpec",
    {
        "ContainerSpec": _CONTAINER,
        "NetworkAttachmentSpec": _struct("NetworkAttachmentSpec", {"ContainerID": _STRING}),
        "Resources": _RESOURCES,
        "RestartPolicy": _RESTART,
        "Placement": _PLACEMENT,
        "Networks": _list(_ATTACHMENT),
        "LogDriver": _DRIVER,
        "ForceUpdate": _UINT64,
        "Runtime": _named("RuntimeType"),
    },
)
_MODE = _struct(
    "ServiceMode",
    {
        "Replicated": _struct("ReplicatedService", {"Replicas": _UINT64}),
        "Global": _struct("GlobalService"),
        "ReplicatedJob": _struct("ReplicatedJob", _all(_UINT64, "MaxConcurrent", "TotalCompletions")),
        "GlobalJob": _struct("GlobalJob"),
    },
)
_UPDATE = _struct(
    "UpdateConfig",
    {"Parallelism": _UINT64, "MaxFailureRatio": Kind("float32", "number")},
    _all(_DURATION, "Delay", "Monitor"),
    _all(_STRING, "FailureAction", "Order"),
)
_PORT = _struct(
    "PortConfig",
    {
        "Name": _STRING,
        "Protocol": _named("PortConfigProtocol"),
        "PublishMode": _named("PortConfigPublishMode"),
    },
    _all(_UINT32, "TargetPort", "PublishedPort"),
)
SERVICE = _struct(
    "ServiceSpec",
    *_annotated(
        {
            "TaskTemplate": _TASK,
            "Mode": _MODE,
            "UpdateConfig": _UPDATE,
            "RollbackConfig": _UPDATE,
            "Networks": _list(_ATTACHMENT),
            "EndpointSpec": _struct(
                "EndpointSpec", {"Mode": _named("ResolutionMode"), "Ports": _list(_PORT)}
            ),
        }
    ),
)
SECRET = _struct("SecretSpec", *_annotated({"Data": _BYTES, "Driver": _DRIVER, "Templating": _DRIVER}))
CONFIG = _struct("ConfigSpec", *_annotated({"Data": _BYTES, "Templating": _DRIVER}))
NODE = _struct(
    "NodeSpec", *_annotated({"Role": _named("NodeRole"), "Availability": _named("NodeAvailability")})
)
_AUTHORITY = _struct(
    "ExternalCA",
    {"Protocol": _named("ExternalCAProtocol"), "Options": _MAP},
    _all(_STRING, "URL", "CACert"),
)
SWARM = _struct(
    "Spec",
    *_annotated(
        {
            "Orchestration": _struct("OrchestrationConfig", {"TaskHistoryRetentionLimit": _INT64}),
            "Raft": _struct(
                "RaftConfig",
                _all(_UINT64, "SnapshotInterval", "KeepOldSnapshots", "LogEntriesForSlowFollowers"),
                _all(Kind("int", "int"), "ElectionTick", "HeartbeatTick"),
            ),
            "Dispatcher": _struct("DispatcherConfig", {"HeartbeatPeriod": _DURATION}),
            "CAConfig": _struct(
                "CAConfig",
                {"NodeCertExpiry": _DURATION, "ExternalCAs": _list(_AUTHORITY, pointer=True)},
                _all(_STRING, "SigningCACert", "SigningCAKey"),
                {"ForceRotate": _UINT64},
            ),
            "TaskDefaults": _struct("TaskDefaults", {"LogDriver": _DRIVER}),
            "EncryptionConfig": _struct("EncryptionConfig", {"AutoLockManagers": _BOOL}),
        }
    ),
)
INIT = _struct(
    "InitRequest",
    _all(_STRING, "ListenAddr", "AdvertiseAddr", "DataPathAddr"),
    _all(_UINT32, "DataPathPort", "SubnetSize"),
    _all(_BOOL, "ForceNewCluster", "AutoLockManagers"),
    {"Spec": SWARM, "Availability": _named("NodeAvailability"), "DefaultAddrPool": _STRINGS},
)
JOIN = _struct(
    "JoinRequest",
    _all(_STRING, "ListenAddr", "AdvertiseAddr", "DataPathAddr", "JoinToken"),
    {"RemoteAddrs": _STRINGS, "Availability": _named("NodeAvailability")},
)
UNLOCK = _struct("UnlockRequest", {"UnlockKey": _STRING})
