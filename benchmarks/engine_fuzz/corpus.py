"""Valid requests of every operation, as the material for mutations. They speak of the objects of `fixture`.

A request is (method, path, query, body): `query` a list of pairs, `body` a JSON value, bytes, or None for none.
"""

# ruff: noqa: E501 - a request stands on one line
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["REQUESTS", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request before it is written out; `headers` are those beside Host, Content-Type and Content-Length."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """Return what the request is an example of, for grouping."""
        return f"{self.method} {self.path}"


_HOST_CONFIG = {
    "Binds": ["fuzz-volume:/data:ro"],
    "CapAdd": ["NET_ADMIN"],
    "CapDrop": ["MKNOD"],
    "CgroupnsMode": "private",
    "CpuShares": 512,
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}],
    "Dns": ["127.0.0.1"],
    "DnsSearch": ["example.org"],
    "ExtraHosts": ["a:127.0.0.1"],
    "GroupAdd": ["1"],
    "Init": False,
    "IpcMode": "private",
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
    "Memory": 67108864,
    "MemorySwap": 134217728,
    "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 448}}],
    "NetworkMode": "none",
    "OomScoreAdj": 100,
    "PidMode": "",
    "PidsLimit": 100,
    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
    "ReadonlyRootfs": True,
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
    "SecurityOpt": ["no-new-privileges"],
    "ShmSize": 67108864,
    "Sysctls": {"net.ipv4.ip_forward": "1"},
    "Tmpfs": {"/x": "size=64k"},
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
    "UTSMode": "",
}
_CONFIG = {
    "Hostname": "h",
    "Domainname": "d",
    "User": "1:1",
    "AttachStdout": True,
    "Tty": False,
    "OpenStdin": True,
    "StdinOnce": True,
    "Env": ["A=b"],
    "Cmd": ["sleep", "1000"],
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Timeout": 1000000000, "Retries": 3},
    "Image": "busybox",
    "Volumes": {"/v": {}},
    "WorkingDir": "/w",
    "Entrypoint": None,
    "NetworkDisabled": False,
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"a": "b"},
    "StopSignal": "SIGTERM",
    "StopTimeout": 1,
}
_CONTAINERS = ("fuzz-running", "fuzz-ended")
_RUNNING, _ENDED = _CONTAINERS
_NETWORK = {
    "Name": "fuzz-made",
    "CheckDuplicate": True,
    "Driver": "bridge",
    "Internal": False,
    "Attachable": False,
    "EnableIPv6": False,
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.213.0.0/24", "Gateway": "10.213.0.1"}]},
    "Options": {"com.docker.network.bridge.name": "fuzzbr0"},
    "Labels": {"a": "b"},
}
_SPEC = {"Name": "n", "Labels": {"a": "b"}, "Data": "YQ=="}


def _each(method: str, path: str, *query: tuple[str, str], body: Any = None) -> list[Request]:
    return [Request(method, path.format(name), query, body) for name in _CONTAINERS]


REQUESTS: tuple[Request, ...] = (
    Request("GET", "/_ping"),
    Request("HEAD", "/_ping"),
    Request("GET", "/version"),
    Request("GET", "/info"),
    Request("GET", "/system/df"),
    Request("GET", "/events", (("since", "1700000000"), ("until", "1700000001"), ("filters", '{"type":["container"]}'))),
    Request("GET", "/containers/json", (("all", "1"), ("limit", "2"), ("size", "1"), ("filters", '{"status":["running"],"label":["a=b"],"name":["x"],"ancestor":["busybox"]}'))),
    Request("GET", "/containers/json", (("all", "1"), ("filters", '{"before":{"fuzz-running":true},"exited":["0"],"health":["none"],"is-task":["false"],"network":["bridge"],"publish":["80"],"expose":["80/tcp"],"volume":["/data"]}'))),
    *(Request("POST", "/containers/create", (("name", "fuzz-made"),), {**_CONFIG, "HostConfig": _HOST_CONFIG}) for _ in range(6)),
    Request("POST", "/containers/create", (("name", "fuzz-made"), ("platform", "linux/amd64")), {"Image": "busybox", "HostConfig": {"NetworkMode": "bridge"}, "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.1.2.3"}, "Links": ["a:b"], "MacAddress": "02:42:ac:11:00:02"}}}}),
    *_each("GET", "/containers/{}/json", ("size", "1")),
    *_each("GET", "/containers/{}/top", ("ps_args", "aux")),
    *_each("GET", "/containers/{}/logs", ("stdout", "1"), ("stderr", "1"), ("since", "1"), ("until", "1700000000.5"), ("tail", "5"), ("timestamps", "1"), ("details", "1")),
    *_each("GET", "/containers/{}/changes"),
    Request("GET", f"/containers/{_ENDED}/stats", (("stream", "0"), ("one-shot", "1"))),
    Request("GET", f"/containers/{_RUNNING}/stats", (("stream", "0"), ("one-shot", "1"))),
    *_each("POST", "/containers/{}/resize", ("h", "24"), ("w", "80")),
    *_each("POST", "/containers/{}/start", ("detachKeys", "ctrl-p,ctrl-q")),
    *_each("POST", "/containers/{}/stop", ("t", "0")),
    *_each("POST", "/containers/{}/restart", ("t", "0")),
    *_each("POST", "/containers/{}/kill", ("signal", "SIGUSR1")),
    *_each("POST", "/containers/{}/update", body={"CpuShares": 256, "Memory": 67108864, "MemorySwap": -1, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "PidsLimit": 100, "CpusetCpus": "0", "BlkioWeight": 0}),
    *_each("POST", "/containers/{}/rename", ("name", "fuzz-renamed")),
    *_each("POST", "/containers/{}/pause"),
    *_each("POST", "/containers/{}/unpause"),
    *_each("POST", "/containers/{}/attach", ("logs", "1"), ("stdout", "1"), ("stderr", "1"), ("detachKeys", "ctrl-a")),
    Request("POST", f"/containers/{_ENDED}/wait", (("condition", "not-running"),)),
    *_each("DELETE", "/containers/{}", ("v", "1"), ("force", "0"), ("link", "0")),
    *_each("GET", "/containers/{}/archive", ("path", "/etc")),
    *_each("HEAD", "/containers/{}/archive", ("path", "/etc/passwd")),
    *_each("PUT", "/containers/{}/archive", ("path", "/tmp"), ("noOverwriteDirNonDir", "1"), ("copyUIDGID", "1"), body=b"\0" * 1024),
    *_each("GET", "/containers/{}/export"),
    Request("POST", "/containers/prune", (("filters", '{"until":["1h"],"label":["never=ever"]}'),)),
    *_each("POST", "/containers/{}/exec", body={"AttachStdout": True, "AttachStderr": True, "AttachStdin": False, "DetachKeys": "ctrl-p", "Tty": False, "Cmd": ["true"], "Env": ["A=b"], "Privileged": False, "User": "1", "WorkingDir": "/"}),
    Request("POST", "/exec/deadbeef/start", (), {"Detach": False, "Tty": False}),
    Request("POST", "/exec/deadbeef/resize", (("h", "1"), ("w", "1"))),
    Request("GET", "/exec/deadbeef/json"),
    Request("GET", "/images/json", (("all", "1"), ("digests", "1"), ("filters", '{"dangling":["true"],"label":["a"],"reference":["busy*"],"before":["busybox"],"since":["busybox"]}'))),
    Request("GET", "/images/busybox/json"),
    Request("GET", "/images/busybox/history"),
    Request("GET", "/images/busybox/get"),
    Request("GET", "/images/get", (("names", "busybox"), ("names", "busybox:latest"))),
    Request("POST", "/images/create", (("fromImage", "fuzz/nosuch"), ("tag", "latest"), ("platform", "linux/amd64"))),
    Request("POST", "/images/create", (("fromSrc", "-"), ("repo", "fuzz/imported"), ("tag", "x"), ("message", "m"), ("changes", "CMD true")), b"\0" * 1024),
    Request("POST", "/images/load", (("quiet", "1"),), b"\0" * 1024),
    Request("POST", "/images/busybox/tag", (("repo", "fuzz/tagged"), ("tag", "x"))),
    Request("POST", "/images/fuzz/nosuch/push", (("tag", "x"),), None, {"X-Registry-Auth": "e30="}),
    Request("DELETE", "/images/fuzz-nosuch", (("force", "0"), ("noprune", "1"))),
    Request("POST", "/images/prune", (("filters", '{"dangling":["true"],"until":["1h"],"label":["never"]}'),)),
    Request("GET", "/images/search", (("term", "x"), ("limit", "5"), ("filters", '{"is-official":["true"],"stars":["3"]}'))),
    Request("GET", "/distribution/fuzz/nosuch/json"),
    Request("POST", "/commit", (("container", _ENDED), ("repo", "fuzz/committed"), ("tag", "x"), ("comment", "c"), ("author", "a"), ("pause", "0"), ("changes", "ENV a=b")), {"Cmd": ["true"], "Labels": {"a": "b"}}),
    Request("GET", "/networks", (("filters", '{"driver":["bridge"],"scope":["local"],"type":["builtin"],"name":["b"],"id":["x"],"label":["a"],"dangling":["true"]}'),)),
    Request("GET", "/networks/fuzz-net", (("verbose", "1"), ("scope", "local"))),
    *(Request("POST", "/networks/create", (), _NETWORK) for _ in range(3)),
    Request("POST", "/networks/fuzz-net/connect", (), {"Container": _ENDED, "EndpointConfig": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "10.212.0.9"}, "Links": ["a:b"]}}),
    Request("POST", "/networks/fuzz-net/disconnect", (), {"Container": _ENDED, "Force": False}),
    Request("DELETE", "/networks/fuzz-net"),
    Request("POST", "/networks/prune", (("filters", '{"until":["1h"],"label":["never"]}'),)),
    Request("GET", "/volumes", (("filters", '{"dangling":["true"],"driver":["local"],"name":["v"],"label":["a"]}'),)),
    Request("GET", "/volumes/fuzz-volume"),
    Request("POST", "/volumes/create", (), {"Name": "fuzz-made", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {"a": "b"}}),
    Request("DELETE", "/volumes/fuzz-volume", (("force", "1"),)),
    Request("POST", "/volumes/prune", (("filters", '{"label":["never"]}'),)),
    Request("POST", "/auth", (), {"username": "u", "password": "p", "serveraddress": "127.0.0.1:1"}),
    Request("GET", "/swarm"),
    Request("POST", "/swarm/leave", (("force", "1"),)),
    Request("POST", "/swarm/update", (("version", "1"), ("rotateWorkerToken", "1")), {"Name": "default"}),
    Request("GET", "/swarm/unlockkey"),
    Request("POST", "/swarm/unlock", (), {"UnlockKey": "k"}),
    *(Request("GET", f"/{kind}", (("filters", '{"name":["x"]}'),)) for kind in ("nodes", "services", "tasks", "secrets", "configs")),
    *(Request("GET", f"/{kind}/x") for kind in ("nodes", "services", "tasks", "secrets", "configs")),
    *(Request("DELETE", f"/{kind}/x") for kind in ("nodes", "services", "secrets", "configs")),
    *(Request("POST", f"/{kind}/create", (), _SPEC) for kind in ("services", "secrets", "configs")),
    *(Request("POST", f"/{kind}/x/update", (("version", "1"),), _SPEC) for kind in ("nodes", "services", "secrets", "configs")),
    *(Request("GET", f"/{kind}/x/logs", (("stdout", "1"), ("tail", "1"))) for kind in ("services", "tasks")),
    Request("GET", "/plugins", (("filters", '{"capability":["volumedriver"],"enabled":["true"]}'),)),
    Request("GET", "/plugins/x/json"),
    Request("DELETE", "/plugins/x", (("force", "1"),)),
    Request("POST", "/plugins/x/enable", (("timeout", "1"),)),
    Request("POST", "/plugins/x/disable", (("force", "1"),)),
    Request("POST", "/plugins/x/push"),
    Request("POST", "/plugins/x/set", (), ["a=b"]),
    Request("POST", "/plugins/create", (("name", "x"),), b"\0" * 1024),
    Request("POST", "/session"),
    Request("POST", "/grpc"),
    Request("POST", "/build/prune", (("keep-storage", "1"), ("all", "1"), ("filters", '{"until":["1h"]}'))),
    Request("POST", "/build/cancel", (("id", "x"),)),
)  # fmt: skip
