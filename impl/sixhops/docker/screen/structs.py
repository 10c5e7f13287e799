"""Documents of the engine as docker's own types: what a template may ask of them, and how Go prints them.

docker reads an answer into a struct, so a field that the answer leaves out is there with its zero value, one that the
struct does not have is an error, and some are called otherwise than in JSON. `view` shows a document as a template sees it.
Only the types that `info`, `version` and `events` print are here; field order counts, because structs are printed in it.
"""

from __future__ import annotations

import json
from typing import Any

from sixhops.docker.screen.templatefunctions import Fields, Nil, show

__all__ = ["Struct", "view"]

_PLATFORM = "struct { Name string }"

#: The fields of each struct: their types, as Go writes them. `name=json` where the name in JSON is another.
_STRUCTS = {
    "system.info": """
        *types.Info; ServerErrors []string; ClientInfo *system.clientInfo; ClientErrors []string""",
    "system.clientInfo": "Debug bool; Context string; Plugins []any; Warnings []string",
    "types.Info": """
        ID string; Containers int; ContainersRunning int; ContainersPaused int; ContainersStopped int; Images int;
        Driver string; DriverStatus [][]string; SystemStatus [][]string; Plugins types.PluginsInfo; MemoryLimit bool;
        SwapLimit bool; KernelMemory bool; KernelMemoryTCP bool; CPUCfsPeriod=CpuCfsPeriod bool;
        CPUCfsQuota=CpuCfsQuota bool; CPUShares bool; CPUSet bool; PidsLimit bool; IPv4Forwarding bool;
        BridgeNfIptables bool; BridgeNfIP6tables=BridgeNfIp6tables bool; Debug bool; NFd int; OomKillDisable bool;
        NGoroutines int; SystemTime string; LoggingDriver string; CgroupDriver string; CgroupVersion string;
        NEventsListener int; KernelVersion string; OperatingSystem string; OSVersion string; OSType string;
        Architecture string; IndexServerAddress string; RegistryConfig *registry.ServiceConfig; NCPU int; MemTotal int;
        GenericResources []any; DockerRootDir string; HTTPProxy=HttpProxy string; HTTPSProxy=HttpsProxy string;
        NoProxy string; Name string; Labels []string; ExperimentalBuild bool; ServerVersion string; ClusterStore string;
        ClusterAdvertise string; Runtimes map[]types.Runtime; DefaultRuntime string; Swarm swarm.Info;
        LiveRestoreEnabled bool; Isolation string; InitBinary string; ContainerdCommit types.Commit;
        RuncCommit types.Commit; InitCommit types.Commit; SecurityOptions []string; ProductLicense string;
        DefaultAddressPools []types.NetworkAddressPool; Warnings []string""",
    "types.PluginsInfo": "Volume []string; Network []string; Authorization []string; Log []string",
    "registry.ServiceConfig": """
        AllowNondistributableArtifactsCIDRs []any; AllowNondistributableArtifactsHostnames []string;
        InsecureRegistryCIDRs []any; IndexConfigs map[]*registry.IndexInfo; Mirrors []string""",
    "registry.IndexInfo": "Name string; Mirrors []string; Secure bool; Official bool",
    "types.Runtime": "Path=path string; Args=runtimeArgs []string; Shim=- *types.ShimConfig",
    "types.ShimConfig": "",
    "types.Commit": "ID string; Expected string",
    "types.NetworkAddressPool": "Base string; Size int",
    "swarm.Info": """
        NodeID string; NodeAddr string; LocalNodeState string; ControlAvailable bool; Error string;
        RemoteManagers []swarm.Peer; Nodes int; Managers int; Cluster *swarm.ClusterInfo; Warnings []string""",
    "swarm.Peer": "NodeID string; Addr string",
    "swarm.ClusterInfo": """
        ID string; Version any; CreatedAt string; UpdatedAt string; Spec any; TLSInfo any; RootRotationInProgress bool;
        DefaultAddrPool []string; SubnetSize int; DataPathPort int""",
    "system.versionInfo": "Client system.clientVersion; Server *types.Version; ServerOK() bool",
    "system.clientVersion": f"""
        Platform {_PLATFORM}; Version string; APIVersion=ApiVersion string; DefaultAPIVersion string; GitCommit string;
        GoVersion string; Os string; Arch string; BuildTime string; Context string; Experimental bool""",
    "types.Version": f"""
        Platform {_PLATFORM}; Components []types.ComponentVersion; Version string; APIVersion=ApiVersion string;
        MinAPIVersion string; GitCommit string; GoVersion string; Os string; Arch string; KernelVersion string;
        Experimental bool; BuildTime string""",
    _PLATFORM: "Name string",
    "types.ComponentVersion": "Name string; Version string; Details map[]string",
    "events.Message": """
        Status=status string; ID=id string; From=from string; Type string; Action string; Actor events.Actor;
        Scope=scope string; Time=time int; TimeNano=timeNano int""",
    "events.Actor": "ID string; Attributes map[]string",
}
_ZEROS = {"string": "", "int": 0, "bool": False}


def view(kind: str, document: Any) -> Any:
    """Return a JSON value as Go's type `kind` shows it: a plain value, a list, a dict, a `Struct`, or `Nil`."""
    if kind == "any":
        return document
    if kind in _ZEROS:
        return _ZEROS[kind] if document is None else document
    if kind.startswith("[]"):
        return Nil("[]") if document is None else [view(kind[2:], item) for item in document]
    if kind.startswith("map[]"):
        return {name: view(kind[5:], item) for name, item in (document or {}).items()}
    if kind.startswith("*") and document is None:
        return Nil("<nil>", kind)
    return Struct(kind, document or {})


class Struct(Fields):
    """A document as one of docker's structs, or as a pointer to one (`*` before its name)."""

    def __init__(self, kind: str, document: dict[str, Any]) -> None:
        self.kind = kind
        self._document = document
        lines = _lines(kind.lstrip("*"))
        self._embedded = [line for line in lines if line.startswith("*")]
        self._fields = dict(line.partition(" ")[::2] for line in lines if not line.startswith("*"))
        self._names = {name.partition("=")[0]: name for name in self._fields}

    def wants(self, name: str) -> int:
        """Return 0 for the one method that there is, -1 for a field."""
        if f"{name}()" in self._names:
            return 0
        if name not in self._names and not any(_has(line, name) for line in self._embedded):
            raise KeyError(name)
        return -1

    def field(self, name: str, arguments: list[Any]) -> Any:
        """Return one field. Raises LookupError for one that an absent document would have."""
        del arguments  # `wants` says that there are none
        if name == "ServerOK":
            return self._document.get("Server") is not None
        if name not in self._names:
            line = next(line for line in self._embedded if _has(line, name))
            if not self._document.keys() - {item.partition("=")[2] or item for item in self._fields}:
                short = line.rpartition(".")[2]
                raise LookupError(
                    f"reflect: indirection through nil pointer to embedded struct field {short}"
                )
            return Struct(line, self._document).field(name, [])
        written = self._names[name]
        return view(self._fields[written], self._document.get(written.partition("=")[2] or name))

    def as_json(self) -> str:
        """Return the document as it is."""
        return json.dumps(self._document, separators=(",", ":"), ensure_ascii=False)

    def as_text(self) -> str:
        """Return the values of all fields, as %v prints a struct."""
        parts = [self.field(name, []) for name in self._names if not name.endswith("()")]
        values = " ".join("<nil>" if part is None else show(part) for part in parts)
        return f"{'&' if self.kind.startswith('*') else ''}{{{values}}}"


def _lines(kind: str) -> list[str]:
    return [line.strip() for line in _STRUCTS[kind].split(";") if line.strip()]


def _has(embedded: str, name: str) -> bool:
    """Tell whether an embedded struct has a field."""
    return any(line.partition(" ")[0].partition("=")[0] == name for line in _lines(embedded[1:]))
